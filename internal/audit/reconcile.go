package audit

import (
	"fmt"
	"slices"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
)

// Reconcile holds the log and the state against each other. Every difference
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
	r.extents()
	r.services()
	for id, o := range l.orders {
		r.order(id, o)
	}
	r.unread()
	r.ledger()
	r.deadLetters()
	r.views()
	r.counted()
	r.report.settle(r.differences)
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

// differ notes a difference.
func (r *reconciliation) differ(kind Kind, orderID, format string, args ...any) {
	r.differences = append(r.differences, Difference{Kind: kind, OrderID: orderID, Detail: fmt.Sprintf(format, args...)})
}

// forgets says whether a service may have removed what was decided then.
func (r *reconciliation) forgets(decided time.Time) bool { return decided.Before(r.forgotten) }

// order judges all that concerns one order.
func (r *reconciliation) order(id string, o *order) {
	events := eventsOf(o.created)
	for _, e := range events {
		r.account(id, o, e)
	}
	if len(events) > 1 {
		r.differ(CreatedTwice, id, "its id was given to the events %s (%s) and %s (%s)",
			events[0].id, events[0].places[0], events[1].id, events[1].places[0])
	}
	r.results(id, o, events)
}

// event is one order as it was created: all records with its event id.
type event struct {
	id     string
	amount banking.Money
	places []record.Place
	time   time.Time // of the first record
}

// eventsOf groups an order's records by event, first come first.
func eventsOf(created []creation) []event {
	var events []event
	for _, c := range created {
		known := false
		for i := range events {
			if events[i].id == c.event {
				events[i].places, known = append(events[i].places, c.at), true
			}
		}
		if !known {
			events = append(events, event{c.event, c.amount, []record.Place{c.at}, c.time})
		}
	}
	return events
}
