package audit

import (
	"github.com/vigie-dev/vigie/internal/banking"
)

// results judges what decided an order: once, for an order, and as the ledger
// has it.
func (r *reconciliation) results(id string, o *order, events []event) {
	if len(o.results) == 0 {
		return
	}
	different := distinct(o.results)
	r.report.Republished.Results += int64(len(o.results) - len(different))
	first := different[0]
	if len(different) > 1 {
		r.differ(DecidedTwice, id, "%s by %s at %s and %s by %s at %s", first.status, first.event, first.at,
			different[1].status, different[1].event, different[1].at)
	}
	row, inLedger := r.ledgerRows[id]
	switch {
	case len(events) == 0 && r.orderCut(first, inLedger):
		r.report.OlderThanLog.Results++
	case len(events) == 0:
		r.differ(ResultWithoutOrder, id, "%s by %s at %s, and no record of orders.created has it", first.status, first.event, first.at)
	case r.state.Paiement == nil:
	case !inLedger:
		if r.state.asNewAs(first.at) && !r.forgets(first.time) {
			r.differ(ResultWithoutLedger, id, "%s by %s at %s, and the ledger has no row of it", first.status, first.event, first.at)
		}
	default:
		r.compareRow(row, different, events)
	}
}

// distinct leaves one of each decision: what differs in event, status or
// amount was not merely published again.
func distinct(all []result) []result {
	out := all[:1:1]
	for _, f := range all[1:] {
		known := false
		for _, g := range out {
			known = known || g.event == f.event && g.status == f.status && g.amount == f.amount
		}
		if !known {
			out = append(out, f)
		}
	}
	return out
}

// orderCut says whether a result's order may be on the part of the log that
// retention has cut.
func (r *reconciliation) orderCut(f result, inLedger bool) bool {
	if !r.log.cut(banking.TopicOrdersCreated) {
		return false
	}
	return inLedger || r.state.Paiement == nil ||
		r.log.lostBefore(banking.TopicOrdersCreated, r.log.samePartition(banking.TopicOrdersCreated, f.at), f.time)
}

// compareRow holds a ledger row against the order's results in the log.
func (r *reconciliation) compareRow(row LedgerRow, found []result, events []event) {
	var same *result
	for i := range found {
		if found[i].event == row.ResultEventID {
			same = &found[i]
			break
		}
	}
	switch {
	case same == nil:
		r.differ(LedgerDisagrees, row.OrderID, "the ledger has it %s by %s, the log by %s at %s",
			row.Status, row.ResultEventID, found[0].event, found[0].at)
	case same.status != row.Status || same.amount != row.Amount:
		r.differ(LedgerDisagrees, row.OrderID, "the ledger has it %s for %s, the log %s for %s at %s",
			row.Status, row.Amount, same.status, same.amount, same.at)
	default:
		r.compareCause(row, events)
	}
}

// compareCause checks that a ledger row decided an event that was there.
func (r *reconciliation) compareCause(row LedgerRow, events []event) {
	for _, e := range events {
		if e.id == row.EventID {
			return
		}
	}
	if !r.log.lostBefore(banking.TopicOrdersCreated, events[0].places[0].ID, row.ProcessedAt) {
		r.differ(LedgerDisagrees, row.OrderID, "the ledger has it decided for the event %q, the log has it created by %s at %s",
			row.EventID, events[0].id, events[0].places[0])
	}
}
