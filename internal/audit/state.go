package audit

import (
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
)

// Positions are the next offsets that a service has to process. A partition
// that it has not begun to read is not there.
type Positions map[record.Partition]int64

// read says whether the service has processed the record of that place.
func (p Positions) read(at record.Place) bool {
	next, ok := p[at.Partition]
	return ok && at.Offset < next
}

// State is what the services have stored. Each service's part is of one
// moment; nil stands for a service that was not looked at.
type State struct {
	Paiement  *Paiement
	Suivi     *Suivi
	Analyseur *Analyseur
	// NotLookedAt gives the reason for each part that is nil, by service.
	NotLookedAt map[string]string
	// Since is where the log ended before the state was read: the state is at
	// least as new as the records before. Nil says so of the whole log.
	Since map[record.Partition]int64
}

// asNewAs says whether the state is known to be newer than the record.
func (s State) asNewAs(at record.Place) bool {
	return s.Since == nil || at.Offset < s.Since[at.Partition]
}

// Paiement is paiement's state.
type Paiement struct {
	Positions Positions
	// Pending is what is in the outbox, published or not; offset and time are
	// not set.
	Pending []record.Record
	Ledger  []LedgerRow
}

// LedgerRow is one decision in paiement's ledger.
type LedgerRow struct {
	OrderID       string
	EventID       string // the order's
	ResultEventID string
	Status        string
	Amount        banking.Money
	ProcessedAt   time.Time
}

// Suivi is suivi's state.
type Suivi struct {
	Positions Positions
	Views     []View
}

// View is an order as suivi shows it.
type View struct {
	OrderID string
	Status  banking.OrderStatus
	Amount  banking.Money
	Events  int // in the order's history
}

// Analyseur is analyseur's state.
type Analyseur struct {
	Positions    Positions
	Totals       map[string]Sum // by status
	Transactions []Transaction
}

// Transaction is a decided payment that analyseur has counted.
type Transaction struct {
	OrderID string
	EventID string // the result's
	Status  string
	Amount  banking.Money
}
