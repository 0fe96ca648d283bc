package audit

import (
	"slices"
	"strings"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
)

// expectation is what suivi shows of an order, as far as it has read.
type expectation struct {
	statuses []banking.OrderStatus // the last; several where records contradict each other
	amounts  []banking.Money
	moments  map[string]bool // what is in its history
	latest   time.Time
}

// String names the statuses that it may have.
func (x expectation) String() string {
	names := make([]string, len(x.statuses))
	for i, s := range x.statuses {
		names[i] = string(s)
	}
	return strings.Join(names, " or ")
}

func (x *expectation) add(moment string, status banking.OrderStatus, amount banking.Money, at time.Time) {
	if x.moments == nil {
		x.moments = map[string]bool{}
	}
	x.moments[moment] = true
	if !slices.Contains(x.amounts, amount) {
		x.amounts = append(x.amounts, amount)
	}
	switch {
	case len(x.statuses) == 0 || status.Replaces(x.statuses[0]):
		x.statuses = []banking.OrderStatus{status}
	case !x.statuses[0].Replaces(status) && !slices.Contains(x.statuses, status):
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
			x.add("created", banking.OrderStatusCreated, c.amount, c.time)
		}
	}
	for _, f := range o.results {
		if p.read(f.at) {
			x.add("decided", f.shown(), f.amount, f.time)
		}
	}
	for _, l := range o.letters {
		if slices.ContainsFunc(l.at, p.read) {
			x.add(l.origin.String(), banking.OrderStatusFailed, l.amount, time.Time{})
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
		case !ok && x.statuses[0].Decided() && r.forgets(x.latest):
		case !ok:
			r.differ(ViewMissing, id, "suivi has read that it is %s and does not show it", x)
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
	want := min(len(x.moments), banking.MaxOrderEvents)
	switch more := cut && v.Status.Replaces(x.statuses[0]); {
	case !more && !slices.Contains(x.statuses, v.Status):
		r.differ(ViewWrong, v.OrderID, "suivi shows it %s, its records say %s", v.Status, x)
	case !slices.Contains(x.amounts, v.Amount):
		r.differ(ViewWrong, v.OrderID, "suivi shows it for %s, its records say %s", v.Amount, x.amounts[0])
	case v.Events < want || v.Events > want && !cut:
		r.differ(ViewWrong, v.OrderID, "suivi shows %d events, its records are %d", v.Events, want)
	}
}
