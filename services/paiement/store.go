package paiement

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

const (
	selectEvents        = `SELECT order_id, event_id FROM ledger WHERE order_id IN $rows`
	insertEntries       = `INSERT INTO ledger (order_id, event_id, result_event_id, status, amount, processed_at) VALUES $rows`
	insertEntriesIfNone = insertEntries + ` ON CONFLICT DO NOTHING`
	insertSetAside      = `INSERT INTO set_aside (partition, record_offset, event_id) VALUES $rows ON CONFLICT DO NOTHING`
	selectSetAside      = `SELECT record_offset, event_id FROM set_aside WHERE partition = $1 AND record_offset BETWEEN $2 AND $3`
	selectNewest        = `SELECT COALESCE(MAX(processed_at), 0) FROM ledger WHERE status <> $1`
	selectLedger        = `SELECT order_id, event_id, result_event_id, status, amount, processed_at FROM ledger`
	deleteEntries       = `DELETE FROM ledger WHERE order_id IN (SELECT order_id FROM ledger WHERE processed_at < $1 LIMIT $2)`
)

// store is paiement's state, the ledger: one entry for each order that was
// decided or purged, and the horizon, from which on it has them all.
type store struct{ *storage.Store }

// Settled returns, for those of the orders that were decided or purged, the
// event of each.
func (s store) Settled(ctx context.Context, orderIDs []string) (map[string]string, error) {
	settled := map[string]string{}
	err := s.SelectKeys(ctx, selectEvents, orderIDs, func(rows *sql.Rows) error {
		var order, event string
		err := rows.Scan(&order, &event)
		settled[order] = event
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look into the ledger: %w", err)
	}
	return settled, nil
}

// SetAside returns which of the records, of one partition of orders.created and
// in order, were set aside before: their events by their offsets; nil for none.
func (s store) SetAside(ctx context.Context, batch []record.Record) (map[int64]string, error) {
	first, last := batch[0], batch[len(batch)-1]
	rows, err := s.Query(ctx, selectSetAside, first.ID, first.Offset, last.Offset)
	if err != nil {
		return nil, fmt.Errorf("look up what was set aside: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var aside map[int64]string
	for rows.Next() {
		var offset int64
		var event string
		if err := rows.Scan(&offset, &event); err != nil {
			return nil, fmt.Errorf("look up what was set aside: %w", err)
		}
		if aside == nil {
			aside = map[int64]string{}
		}
		aside[offset] = event
	}
	return aside, rows.Err()
}

// Add adds decisions and purges. The ledger is unique by order, and what is
// stored first is final. A purge that comes second changes nothing. A decision
// that comes second fails the whole transaction: its maker decided on a state that
// has changed since, and has to look again: [storage.ErrFenced].
func (store) Add(ctx context.Context, tx *storage.Tx, entries []LedgerRow) error {
	var decisions, purges [][]any
	for _, e := range entries {
		if e.Status == banking.StatusPurged {
			purges = append(purges, e.row())
		} else {
			decisions = append(decisions, e.row())
		}
	}
	if err := tx.InsertRows(ctx, insertEntriesIfNone, purges); err != nil {
		return err
	}
	err := tx.InsertRows(ctx, insertEntries, decisions)
	if storage.IsUnique(err) {
		return fmt.Errorf("%w: an order of the batch has been settled: %w", storage.ErrFenced, err)
	}
	return err
}

func (e LedgerRow) row() []any {
	return []any{e.OrderID, e.EventID, e.ResultEventID, e.Status, int64(e.Amount), e.ProcessedAt.UnixMicro()}
}

// Forget removes at most limit entries that were made before a time, and raises
// the horizon to it with the same transaction: an order that is forgotten is not
// decided again, whatever brings it back.
func (store) Forget(ctx context.Context, tx *storage.Tx, before time.Time, limit int) (int64, error) {
	n, err := tx.Exec(ctx, deleteEntries, before.UnixMicro(), limit)
	if err != nil || n == 0 {
		return n, err
	}
	return n, raise(ctx, tx, before.Add(skew))
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
