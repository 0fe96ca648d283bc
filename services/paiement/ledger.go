package paiement

import (
	"context"
	"fmt"
	"time"

	"github.com/vigie-dev/vigie/services/internal/storage"
)

const (
	selectEvent = `SELECT event_id FROM ledger WHERE order_id = $1`
	insertEntry = `INSERT INTO ledger (order_id, event_id, result_event_id, status, amount, processed_at)
VALUES ($1, $2, $3, $4, $5, $6)`
	deleteEntries = `DELETE FROM ledger WHERE order_id IN (SELECT order_id FROM ledger WHERE processed_at < $1 LIMIT $2)`
)

// eventOf returns the event that the order was decided for, or "".
func eventOf(ctx context.Context, store *storage.Store, orderID string) (event string, err error) {
	err = store.QueryRow(ctx, selectEvent, orderID).Scan(&event)
	if err != nil && !storage.IsNotFound(err) {
		return "", fmt.Errorf("look up %s in the ledger: %w", orderID, err)
	}
	return event, nil
}

// insert adds a decision. The ledger is unique by order: a second decision of
// an order fails the whole transaction.
func insert(ctx context.Context, tx *storage.Tx, e entry) error {
	_, err := tx.Exec(ctx, insertEntry, e.OrderID, e.EventID, e.ResultEventID,
		e.Status, int64(e.Amount), e.ProcessedAt.UnixMicro())
	return err
}

// forget removes at most limit decisions that were taken before a time.
func forget(ctx context.Context, tx *storage.Tx, before time.Time, limit int) (int64, error) {
	return tx.Exec(ctx, deleteEntries, before.UnixMicro(), limit)
}
