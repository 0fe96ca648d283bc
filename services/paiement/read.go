package paiement

import (
	"context"
	"fmt"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/storage"
)

const selectLedger = `SELECT order_id, event_id, result_event_id, status, amount, processed_at FROM ledger`

// LedgerRow is one decision, as the ledger keeps it for those who look on.
type LedgerRow struct {
	OrderID       string
	EventID       string // the order's event that was decided
	ResultEventID string
	Status        string // banking.StatusAuthorized or banking.StatusRejected
	Amount        banking.Money
	ProcessedAt   time.Time
}

// ReadLedger gives every row of the ledger to row, in no order, and ends with
// its first error.
func ReadLedger(ctx context.Context, s *storage.Snapshot, row func(LedgerRow) error) error {
	rows, err := s.Query(ctx, selectLedger)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var r LedgerRow
		var micros int64
		if err := rows.Scan(&r.OrderID, &r.EventID, &r.ResultEventID, &r.Status, &r.Amount, &micros); err != nil {
			return fmt.Errorf("read ledger: %w", err)
		}
		r.ProcessedAt = time.UnixMicro(micros).UTC()
		if err := row(r); err != nil {
			return err
		}
	}
	return rows.Err()
}
