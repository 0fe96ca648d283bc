package audit

import (
	"github.com/vigie-dev/vigie/internal/banking"
)

// counted judges what analyseur has counted: each decided order once, and the
// totals as the sum of what its positions say it has read.
func (r *reconciliation) counted() {
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
		r.differ(CountedWithoutResult, id, "analyseur has counted it %s by %s and has read no result of it", t.Status, t.EventID)
	}
	r.totals(want, cut)
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

// compareTransaction holds what analyseur counted of an order against the
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
		r.differ(CountedWrong, id, "analyseur has counted it %s for %s by %s, the log has it %s for %s by %s",
			t.Status, t.Amount, t.EventID, first.status, first.amount, first.event)
	case !r.forgets(first.time):
		r.differ(NotCounted, id, "analyseur has read %s and has not counted it", first.at)
	}
	return first
}

// totals holds analyseur's totals against the sums. Where the log is cut they
// may hold more: transactions that have left the log and the state.
func (r *reconciliation) totals(want map[string]Sum, cut bool) {
	for _, status := range []string{banking.StatusAuthorized, banking.StatusRejected} {
		got := r.state.Analyseur.Totals[status]
		more := got.less(want[status])
		if more == (Sum{}) || cut && more.Count > 0 && more.Amount >= 0 {
			continue
		}
		r.differ(TotalsWrong, "", "analyseur has %d payments %s of %s in all, it has read %d of %s",
			got.Count, status, got.Amount, want[status].Count, want[status].Amount)
		r.differences[len(r.differences)-1].subject = status
	}
}
