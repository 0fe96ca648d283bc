package audit

import (
	"cmp"
	"fmt"
	"slices"
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

// Reconcile compares the log and the state. Every difference
// is in the report, [Report.Limit] shortens it.
//
// The log has to reach at least to where it ended when the state was read:
// then what the state holds is in the log. What the log holds beyond
// [State.Since] may be newer than the state and is not missed there.
//
// What a service decided before the time forgotten may have been removed from
// its state for its age; zero stands for a state that keeps everything.
func Reconcile(l *Log, s State, forgotten time.Time) Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &reconciliation{log: l, state: s, forgotten: forgotten}
	r.report = Report{Cut: []Cut{}, OtherDeadLetters: []OtherDeadLetter{}}
	r.index()
	r.reportExtents()
	r.reportServices()
	r.checkOrders()
	r.checkViews()
	r.report.conclude(r.differences)
	return r.report
}

// reconciliation is one run of [Reconcile].
type reconciliation struct {
	log       *Log
	state     State
	forgotten time.Time

	ledgerRows     map[string]LedgerRow  // by order
	pendingResults map[string]bool       // orders whose result is in the outbox
	pendingLetters map[record.Place]bool // records whose dead letter is in the outbox

	report      Report
	differences []Difference
}

// index makes paiement's state quick to look up. What waits in the outbox may
// have been published already, marked with the next batch: what is in the log
// does not wait.
func (r *reconciliation) index() {
	r.ledgerRows, r.pendingResults, r.pendingLetters = map[string]LedgerRow{}, map[string]bool{}, map[record.Place]bool{}
	if r.state.Paiement == nil {
		return
	}
	for _, row := range r.state.Paiement.Ledger {
		r.ledgerRows[row.OrderID] = row
	}
	for _, pending := range r.state.Paiement.Pending {
		switch id, fact := decode(pending); f := fact.(type) {
		case result:
			if o := r.log.orders[id]; o == nil || !slices.ContainsFunc(o.results, func(g result) bool { return g.event == f.event }) {
				r.pendingResults[id] = true
			}
		case letter:
			if r.log.letters[letterKey{f.group, f.origin}] == nil {
				r.pendingLetters[f.origin] = true
			}
		}
	}
}

// note notes a difference.
func (r *reconciliation) note(kind Kind, orderID, format string, args ...any) {
	r.differences = append(r.differences, Difference{Kind: kind, OrderID: orderID, Detail: fmt.Sprintf(format, args...)})
}

// forgets says whether a service may have removed what was decided then.
func (r *reconciliation) forgets(decided time.Time) bool { return decided.Before(r.forgotten) }

// Names of the services whose state is looked at.
const (
	paiement  = "paiement"
	suivi     = "suivi"
	analyseur = "analyseur"
)

// topicsOf returns what a service reads.
func topicsOf(service string) []string {
	return banking.ReadBy(map[string]string{
		paiement: banking.GroupPaiement, suivi: banking.GroupSuivi, analyseur: banking.GroupAnalyseur,
	}[service])
}

// reportExtents reports how much of the log there is.
func (r *reconciliation) reportExtents() {
	for p, e := range r.log.extents {
		r.report.Records += e.End - e.Start
		if e.Start == 0 {
			continue
		}
		c := Cut{Topic: p.Topic, Partition: p.ID, Offset: e.Start}
		if !e.From.IsZero() {
			from := e.From.UTC()
			c.From = &from
		}
		r.report.Cut = append(r.report.Cut, c)
	}
	slices.SortFunc(r.report.Cut, func(a, b Cut) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
}

// reportServices reports how far each service is, and checks that it is within the
// log.
func (r *reconciliation) reportServices() {
	for _, name := range []string{paiement, suivi, analyseur} {
		s := Service{Name: name, Problem: r.state.NotLookedAt[name]}
		positions, lookedAt := r.positions(name)
		if s.LookedAt = lookedAt; lookedAt {
			s.Unread = r.unreadBy(name, positions)
		}
		if name == paiement && lookedAt {
			s.Outbox = int64(len(r.pendingResults) + len(r.pendingLetters))
		}
		r.report.Services = append(r.report.Services, s)
	}
}

func (r *reconciliation) positions(service string) (Positions, bool) {
	switch {
	case service == paiement && r.state.Paiement != nil:
		return r.state.Paiement.Positions, true
	case service == suivi && r.state.Suivi != nil:
		return r.state.Suivi.Positions, true
	case service == analyseur && r.state.Analyseur != nil:
		return r.state.Analyseur.Positions, true
	}
	return nil, false
}

// unreadBy counts the records that a service has yet to process.
func (r *reconciliation) unreadBy(service string, positions Positions) (n int64) {
	for p, e := range r.log.extents {
		if !slices.Contains(topicsOf(service), p.Topic) {
			continue
		}
		next, begun := positions[p]
		switch {
		case !begun:
			n += e.End - e.Start
		case next < e.Start:
			r.noteOutside(p, "%s has read %s up to offset %d, and the log begins at %d: the records between were deleted unread",
				service, p, next, e.Start)
		case next > e.End:
			r.noteOutside(p, "%s has read %s up to offset %d, and the log ends at %d", service, p, next, e.End)
		default:
			n += e.End - next
		}
	}
	return n
}

func (r *reconciliation) noteOutside(p record.Partition, format string, args ...any) {
	r.note(OutsideLog, "", format, args...)
	r.differences[len(r.differences)-1].subject = args[0].(string) + " " + p.String()
}
