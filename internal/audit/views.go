package audit

import (
	"slices"
	"strings"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
)

// checkViews checks what is shown and counted of orders.
func (r *reconciliation) checkViews() {
	r.checkSuivi()
	r.checkAnalyseur()
}

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
// the log does not say.
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

// checkSuivi checks what suivi shows.
func (r *reconciliation) checkSuivi() {
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
			r.note(ViewMissing, id, "suivi has read that it is %s and does not show it", x)
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
		r.note(ViewWithoutOrder, id, "suivi shows it %s and has read no record of it", v.Status)
	}
}

// compareView compares a view with what it should be. Where the log is cut,
// the view may know more.
func (r *reconciliation) compareView(v View, x expectation, cut bool) {
	want := min(len(x.moments), banking.MaxOrderEvents)
	switch more := cut && v.Status.Replaces(x.statuses[0]); {
	case !more && !slices.Contains(x.statuses, v.Status):
		r.note(ViewWrong, v.OrderID, "suivi shows it %s, its records say %s", v.Status, x)
	case !slices.Contains(x.amounts, v.Amount):
		r.note(ViewWrong, v.OrderID, "suivi shows it for %s, its records say %s", v.Amount, x.amounts[0])
	case v.Events < want || v.Events > want && !cut:
		r.note(ViewWrong, v.OrderID, "suivi shows %d events, its records are %d", v.Events, want)
	}
}

// checkAnalyseur checks what analyseur has counted: each decided order once, and the
// totals as the sum of what its positions say it has read.
func (r *reconciliation) checkAnalyseur() {
	if r.state.Analyseur == nil {
		return
	}
	transactions := map[string]Transaction{}
	for _, t := range r.state.Analyseur.Transactions {
		transactions[t.OrderID] = t
	}
	cut := r.log.cut(topicsOf(analyseur)...)
	want := map[string]Sum{}
	for id, o := range r.log.orders {
		read := o.readBy(r.state.Analyseur.Positions)
		if len(read) == 0 {
			continue
		}
		t, ok := transactions[id]
		delete(transactions, id)
		counted := r.compareTransaction(id, t, ok, read)
		want[counted.status] = want[counted.status].plus(counted.amount)
	}
	for id, t := range transactions {
		want[t.Status] = want[t.Status].plus(t.Amount)
		if cut {
			r.report.OlderThanLog.Transactions++
			continue
		}
		r.note(CountedWithoutResult, id, "analyseur has counted it %s by %s and has read no result of it", t.Status, t.EventID)
	}
	r.checkTotals(want, cut)
}

// readBy returns the order's results that a service has read.
func (o *order) readBy(p Positions) (out []result) {
	for _, f := range o.results {
		if p.read(f.at) {
			out = append(out, f)
		}
	}
	return out
}

// compareTransaction compares what analyseur counted of an order with the
// results that it has read, and returns the one that counts.
func (r *reconciliation) compareTransaction(id string, t Transaction, ok bool, read []result) result {
	for _, f := range read {
		if ok && f.event == t.EventID && f.status == t.Status && f.amount == t.Amount {
			return f
		}
	}
	first := read[0]
	switch {
	case ok:
		r.note(CountedWrong, id, "analyseur has counted it %s for %s by %s, the log has it %s for %s by %s",
			t.Status, t.Amount, t.EventID, first.status, first.amount, first.event)
	case !r.forgets(first.time):
		r.note(NotCounted, id, "analyseur has read %s and has not counted it", first.at)
	}
	return first
}

// checkTotals compares analyseur's totals with the sums. Where the log is cut they
// may hold more: transactions that have left the log and the state.
func (r *reconciliation) checkTotals(want map[string]Sum, cut bool) {
	for _, status := range []string{banking.StatusAuthorized, banking.StatusRejected} {
		got := r.state.Analyseur.Totals[status]
		more := got.less(want[status])
		if more == (Sum{}) || cut && more.Count > 0 && more.Amount >= 0 {
			continue
		}
		r.note(TotalsWrong, "", "analyseur has %d payments %s of %s in all, it has read %d of %s",
			got.Count, status, got.Amount, want[status].Count, want[status].Amount)
		r.differences[len(r.differences)-1].subject = status
	}
}
