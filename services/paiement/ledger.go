package paiement

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/vigie-dev/vigie/internal/storage"
)

const (
	selectEvents  = `SELECT order_id, event_id FROM ledger WHERE order_id IN $rows`
	insertEntries = `INSERT INTO ledger (order_id, event_id, result_event_id, status, amount, processed_at) VALUES $rows`
	deleteEntries = `DELETE FROM ledger WHERE order_id IN (SELECT order_id FROM ledger WHERE processed_at < $1 LIMIT $2)`
)

// eventsOf returns, for those of the orders that were decided, the event that
// each was decided for.
func eventsOf(ctx context.Context, store *storage.Store, orderIDs []string) (known, error) {
	decided := known{}
	err := store.SelectKeys(ctx, selectEvents, orderIDs, func(rows *sql.Rows) error {
		var order, event string
		err := rows.Scan(&order, &event)
		decided[order] = event
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look into the ledger: %w", err)
	}
	return decided, nil
}

// insert adds decisions. The ledger is unique by order: a second decision of
// an order fails the whole transaction. Whoever comes with one decided on what
// was not so any more, and has to look again: [storage.ErrFenced].
func insert(ctx context.Context, tx *storage.Tx, query string, entries []entry) error {
	rows := make([][]any, len(entries))
	for i, e := range entries {
		rows[i] = []any{e.OrderID, e.EventID, e.ResultEventID, e.Status, int64(e.Amount), e.ProcessedAt.UnixMicro()}
	}
	err := tx.InsertRows(ctx, query, rows)
	if storage.IsUnique(err) {
		return fmt.Errorf("%w: an order of the batch has been decided: %w", storage.ErrFenced, err)
	}
	return err
}

// forget removes at most limit decisions that were taken before a time.
func forget(ctx context.Context, tx *storage.Tx, before time.Time, limit int) (int64, error) {
	return tx.Exec(ctx, deleteEntries, before.UnixMicro(), limit)
}
