package audit

import (
	"slices"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
)

// Sum is how many, and how much.
type Sum struct {
	Count  int64         `json:"count"`
	Amount banking.Money `json:"amount"` // euros
}

func (s Sum) plus(amount banking.Money) Sum { return Sum{s.Count + 1, s.Amount + amount} }

func (s Sum) and(t Sum) Sum { return Sum{s.Count + t.Count, s.Amount + t.Amount} }

func (s Sum) less(t Sum) Sum { return Sum{s.Count - t.Count, s.Amount - t.Amount} }

// Report is what an audit found. Its JSON form is a contract: names are added,
// never changed.
type Report struct {
	// AccountedFor says that every order is accounted for once: there is no
	// difference.
	AccountedFor bool `json:"accountedFor"`
	// Looks is how often differences were looked at again, and the first look.
	Looks int `json:"looks"`
	// Records is how many records of the log were asked for.
	Records int64 `json:"records"`

	// Created is the sum of all orders in the log; each stands in exactly one
	// of the sums below.
	Created      Sum `json:"created"`
	Authorized   Sum `json:"authorized"`
	Rejected     Sum `json:"rejected"`
	DeadLettered Sum `json:"deadLettered"`
	Purged       Sum `json:"purged"`
	InFlight     Sum `json:"inFlight"`
	// CannotTell are orders whose decision retention may have taken out of the
	// log, and age out of the ledger.
	CannotTell  Sum `json:"cannotTell"`
	Unaccounted Sum `json:"unaccounted"`

	Republished      Republished       `json:"republished"`
	Unreadable       Unreadable        `json:"unreadable"`
	OlderThanLog     Older             `json:"olderThanLog"`
	Cut              []Cut             `json:"cut"`
	OtherDeadLetters []OtherDeadLetter `json:"otherDeadLetters"`
	Services         []Service         `json:"services"`

	DifferenceCount int64          `json:"differenceCount"`
	Kinds           map[Kind]int64 `json:"differencesByKind"`
	// Differences are sorted by order id.
	Differences []Difference `json:"differences"`
}

// Republished counts records that stand in the log again under the same event
// id. That is information, not a difference.
type Republished struct {
	Orders      int64 `json:"orders"`
	Results     int64 `json:"results"`
	DeadLetters int64 `json:"deadLetters"`
}

// Unreadable counts records that are not what their topic promises.
type Unreadable struct {
	Orders             int64 `json:"orders"` // on orders.created, and of these:
	OrdersDeadLettered int64 `json:"ordersDeadLettered"`
	OrdersInFlight     int64 `json:"ordersInFlight"`
	Elsewhere          int64 `json:"elsewhere"`
}

// Older counts what the services remember of orders that retention has taken
// out of the log, wholly or in part. Of these the audit cannot tell.
type Older struct {
	Ledger       int64 `json:"ledgerRows"`
	Results      int64 `json:"results"`
	DeadLetters  int64 `json:"deadLetters"`
	Views        int64 `json:"views"`
	Transactions int64 `json:"transactions"`
}

// Cut says from where on a partition's log can be told.
type Cut struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	// From is the time of the first record that is left; nil if none is.
	From *time.Time `json:"from"`
}

// OtherDeadLetter counts what another group than paiement's has set aside.
type OtherDeadLetter struct {
	Group    string `json:"group"`
	Topic    string `json:"topic"` // where the records came from
	Reason   string `json:"reason"`
	Waiting  int64  `json:"waiting"`
	Replayed int64  `json:"replayed"`
	Purged   int64  `json:"purged"`
}

// Service says how a service's state was looked at.
type Service struct {
	Name     string `json:"service"`
	LookedAt bool   `json:"lookedAt"`
	Problem  string `json:"problem,omitempty"` // why not
	Unread   int64  `json:"unread"`            // records that it has yet to process
	Outbox   int64  `json:"outbox"`            // messages that it has yet to publish
}

// Limit keeps the first n differences; the counts stay.
func (r Report) Limit(n int) Report {
	r.Differences = slices.Clip(r.Differences[:min(n, len(r.Differences))])
	return r
}

// settle counts the differences that are left.
func (r *Report) settle(differences []Difference) {
	sortDifferences(differences)
	r.Differences, r.Kinds = differences, map[Kind]int64{}
	for _, d := range differences {
		r.Kinds[d.Kind]++
	}
	r.DifferenceCount, r.AccountedFor = int64(len(differences)), len(differences) == 0
}
