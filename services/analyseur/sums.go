package analyseur

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/storage"
)

const (
	selectEvents       = `SELECT order_id, event_id FROM transactions WHERE order_id IN $rows`
	insertTransactions = `INSERT INTO transactions (order_id, event_id, user_id, status, amount, processed_at)
VALUES $rows ON CONFLICT DO NOTHING RETURNING order_id`
	addTotal  = `UPDATE totals SET count = count + $2, amount = amount + $3 WHERE status = $1`
	addMinute = `INSERT INTO minutes (minute, count, amount) VALUES ($1, $2, $3)
ON CONFLICT (minute) DO UPDATE SET count = minutes.count + excluded.count, amount = minutes.amount + excluded.amount`
	deleteTransactions = `DELETE FROM transactions WHERE order_id IN
(SELECT order_id FROM transactions WHERE processed_at < $1 LIMIT $2)`
	deleteMinutes = `DELETE FROM minutes WHERE minute < $1`
	selectSums    = `SELECT status, count, amount FROM totals
UNION ALL SELECT 'LAST_HOUR', CAST(COALESCE(SUM(count), 0) AS BIGINT), CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM minutes WHERE minute >= $1 AND minute <= $2`
	selectRecent = `SELECT order_id, user_id, status, amount, processed_at FROM transactions
ORDER BY processed_at DESC, order_id DESC LIMIT $1`
)

// eventsOf returns, for those of the orders that were counted, the event by
// which each was.
func eventsOf(ctx context.Context, store *storage.Store, orderIDs []string) (counted, error) {
	known := make(counted, len(orderIDs))
	err := store.SelectKeys(ctx, selectEvents, orderIDs, func(rows *sql.Rows) error {
		var order, event string
		err := rows.Scan(&order, &event)
		known[order] = event
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look up transactions: %w", err)
	}
	return known, nil
}

// insert stores transactions and returns the orders that are new. One that
// another transaction is about to store is waited for.
func insert(ctx context.Context, tx *storage.Tx, transactions []transaction) (map[string]bool, error) {
	rows := make([][]any, len(transactions))
	for i, t := range transactions {
		rows[i] = []any{t.OrderID, t.EventID, t.UserID, t.Status, int64(t.Amount), t.ProcessedAt.UnixMicro()}
	}
	added := make(map[string]bool, len(rows))
	err := tx.InsertRowsReturning(ctx, insertTransactions, rows, func(rows *sql.Rows) error {
		var order string
		err := rows.Scan(&order)
		added[order] = true
		return err
	})
	return added, err
}

// addSums adds to the sums. It comes last in a transaction and takes the rows
// in their order: all who count meet in them.
func addSums(ctx context.Context, tx *storage.Tx, t tally) error {
	for _, status := range slices.Sorted(maps.Keys(t.statuses)) {
		s := t.statuses[status]
		if _, err := tx.Exec(ctx, addTotal, status, s.count, int64(s.amount)); err != nil {
			return err
		}
	}
	for _, minute := range slices.Sorted(maps.Keys(t.minutes)) {
		s := t.minutes[minute]
		if _, err := tx.Exec(ctx, addMinute, minute, s.count, int64(s.amount)); err != nil {
			return err
		}
	}
	return nil
}

// readStatistics reads all sums as of one moment: three rows and the last
// hour's minutes, however many payments there were.
func readStatistics(ctx context.Context, store *storage.Store, now time.Time) (statistics, error) {
	rows, err := store.Query(ctx, selectSums, windowStart(now), minuteOf(now))
	if err != nil {
		return statistics{}, fmt.Errorf("read statistics: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var s statistics
	for rows.Next() {
		var name string
		var one sum
		if err := rows.Scan(&name, &one.count, &one.amount); err != nil {
			return statistics{}, fmt.Errorf("read statistics: %w", err)
		}
		switch name {
		case banking.StatusAuthorized:
			s.authorized = one
		case banking.StatusRejected:
			s.rejected = one
		default:
			s.lastHour = one
		}
	}
	return s, rows.Err()
}

// readRecent returns the latest transactions, newest first.
func readRecent(ctx context.Context, store *storage.Store, limit int) ([]transaction, error) {
	rows, err := store.Query(ctx, selectRecent, limit)
	if err != nil {
		return nil, fmt.Errorf("read recent transactions: %w", err)
	}
	defer func() { _ = rows.Close() }()
	recent := []transaction{}
	for rows.Next() {
		var t transaction
		var micros int64
		if err := rows.Scan(&t.OrderID, &t.UserID, &t.Status, &t.Amount, &micros); err != nil {
			return nil, fmt.Errorf("read recent transactions: %w", err)
		}
		t.ProcessedAt = time.UnixMicro(micros).UTC()
		recent = append(recent, t)
	}
	return recent, rows.Err()
}

// forget removes at most limit transactions decided before a time, and the
// minutes before it. The totals keep what they have counted.
func forget(ctx context.Context, tx *storage.Tx, before time.Time, limit int) (int64, error) {
	if _, err := tx.Exec(ctx, deleteMinutes, minuteOf(before)); err != nil {
		return 0, err
	}
	return tx.Exec(ctx, deleteTransactions, before.UnixMicro(), limit)
}
