package audit

import (
	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
)

// ledger judges the rows whose result is not in the log; the others have been
// held against their results.
func (r *reconciliation) ledger() {
	for _, row := range r.ledgerRows {
		o := r.log.orders[row.OrderID]
		switch {
		case o != nil && len(o.results) > 0:
		case o != nil && len(o.created) > 0:
			r.compareCause(row, eventsOf(o.created)) // the result was looked for where the order was accounted for
		case r.pendingResults[row.OrderID]:
		case r.cutResult(row, -1):
			r.report.OlderThanLog.Ledger++
		default:
			r.differ(LedgerWithoutResult, row.OrderID, "the ledger has it %s by %s, and the log has neither the order nor the result",
				row.Status, row.ResultEventID)
		}
	}
}

// cutResult says whether a ledger row's result may be on the part of the log
// that retention has cut. The partition is that of the order, or -1.
func (r *reconciliation) cutResult(row LedgerRow, partition int32) bool {
	topic := banking.TopicPaymentsRejected
	if row.Status == banking.StatusAuthorized {
		topic = banking.TopicPaymentsAuthorized
	}
	if partition >= 0 {
		partition = r.log.samePartition(topic, record.At(banking.TopicOrdersCreated, partition, 0))
	}
	return r.log.lostBefore(topic, partition, row.ProcessedAt)
}
