package audit

import (
	"slices"
	"strings"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
)

// Statuses as suivi shows them: a contract, as topics are.
const (
	viewCreated    = "ORDER_CREATED"
	viewFailed     = "PAYMENT_FAILED"
	viewAuthorized = "PAYMENT_AUTHORIZED"
	viewRejected   = "PAYMENT_REJECTED"
)

// maxEvents is how long a history suivi keeps of one order.
const maxEvents = 50

// rank orders the statuses: an order's never goes back.
func rank(status string) int {
	switch status {
	case viewCreated:
		return 1
	case viewFailed:
		return 2
	case viewAuthorized, viewRejected:
		return 3
	default:
		return 0
	}
}

// expectation is what suivi shows of an order, as far as it has read.
type expectation struct {
	statuses []string // of the highest rank; several where records contradict each other
	amounts  []banking.Money
	moments  map[string]bool // what is in its history
	latest   time.Time
}

func (x *expectation) add(moment, status string, amount banking.Money, at time.Time) {
	if x.moments == nil {
		x.moments = map[string]bool{}
	}
	x.moments[moment] = true
	if !slices.Contains(x.amounts, amount) {
		x.amounts = append(x.amounts, amount)
	}
	switch {
	case len(x.statuses) == 0 || rank(status) > rank(x.statuses[0]):
		x.statuses = []string{status}
	case rank(status) == rank(x.statuses[0]) && !slices.Contains(x.statuses, status):
		x.statuses = append(x.statuses, status)
	}
	if at.After(x.latest) {
		x.latest = at
	}
}

// expected works out what suivi shows of an order from the records that its
// positions say it has read. An order is created once and decided once: of
// events that contradict each other suivi shows the first that it read, which
// the log does not tell.
func (o *order) expected(p Positions) (x expectation) {
	for _, c := range o.created {
		if p.read(c.at) {
			x.add("created", viewCreated, c.amount, c.time)
		}
	}
	for _, f := range o.results {
		if p.read(f.at) {
			status := viewRejected
			if f.status == banking.StatusAuthorized {
				status = viewAuthorized
			}
			x.add("decided", status, f.amount, f.time)
		}
	}
	for _, l := range o.letters {
		if slices.ContainsFunc(l.at, p.read) {
			x.add(l.origin.String(), viewFailed, l.amount, time.Time{})
		}
	}
	return x
}

// views judges what suivi shows.
func (r *reconciliation) views() {
	if r.state.Suivi == nil {
		return
	}
	shown := map[string]View{}
	for _, v := range r.state.Suivi.Views {
		shown[v.OrderID] = v
	}
	cut := r.log.cut(topicsOf(suivi)...)
	for id, o := range r.log.orders {
		x := o.expected(r.state.Suivi.Positions)
		v, ok := shown[id]
		switch {
		case len(x.moments) == 0:
			continue
		case !ok && rank(x.statuses[0]) == rank(viewAuthorized) && r.forgets(x.latest):
		case !ok:
			r.differ(ViewMissing, id, "suivi has read that it is %s and does not show it", strings.Join(x.statuses, " or "))
		default:
			r.compareView(v, x, cut)
		}
		delete(shown, id)
	}
	for id, v := range shown {
		if cut {
			r.report.OlderThanLog.Views++
			continue
		}
		r.differ(ViewWithoutOrder, id, "suivi shows it %s and has read no record of it", v.Status)
	}
}

// compareView holds a view against what it should be. Where the log is cut,
// the view may know more.
func (r *reconciliation) compareView(v View, x expectation, cut bool) {
	want := min(len(x.moments), maxEvents)
	switch more := cut && rank(v.Status) > rank(x.statuses[0]); {
	case !more && !slices.Contains(x.statuses, v.Status):
		r.differ(ViewWrong, v.OrderID, "suivi shows it %s, its records say %s", v.Status, strings.Join(x.statuses, " or "))
	case !slices.Contains(x.amounts, v.Amount):
		r.differ(ViewWrong, v.OrderID, "suivi shows it for %s, its records say %s", v.Amount, x.amounts[0])
	case v.Events < want || v.Events > want && !cut:
		r.differ(ViewWrong, v.OrderID, "suivi shows %d events, its records are %d", v.Events, want)
	}
}
