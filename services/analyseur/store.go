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
	// A sum that would leave its bound stays as it is: SQLite would go on with an
	// approximation. The bounds have both totals, and an hour's minutes, added up
	// in 64 bits; they hold 46 billion payments of the largest amount, and 1.5
	// billion in a minute.
	addTotal  = `UPDATE totals SET count = count + $2, amount = amount + $3 WHERE status = $1 AND amount <= 4611686018427387903 - $3`
	addMinute = `INSERT INTO minutes (minute, count, amount) VALUES ($1, $2, $3)
ON CONFLICT (minute) DO UPDATE SET count = minutes.count + excluded.count, amount = minutes.amount + excluded.amount
WHERE minutes.amount <= 153722867280912930 - excluded.amount`
	deleteTransactions = `DELETE FROM transactions WHERE order_id IN
(SELECT order_id FROM transactions WHERE processed_at < $1 LIMIT $2)`
	deleteMinutes = `DELETE FROM minutes WHERE minute < $1`
	selectSums    = `SELECT status, count, amount FROM totals
UNION ALL SELECT 'LAST_HOUR', CAST(COALESCE(SUM(count), 0) AS BIGINT), CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM minutes WHERE minute >= $1 AND minute <= $2`
	selectRecent = `SELECT order_id, user_id, status, amount, processed_at FROM transactions
ORDER BY processed_at DESC, order_id DESC LIMIT $1`
	selectTransactions = `SELECT order_id, event_id, user_id, status, amount, processed_at FROM transactions`
	selectMinutes      = `SELECT minute, count, amount FROM minutes`
	selectTotals       = `SELECT status, count, amount FROM totals`
)

// store is analyseur's state: each transaction once, and the sums of all.
type store struct{ *storage.Store }

// Counted returns, for those of the orders that were counted, the event by
// which each was.
func (s store) Counted(ctx context.Context, orderIDs []string) (counted, error) {
	known := make(counted, len(orderIDs))
	err := s.SelectKeys(ctx, selectEvents, orderIDs, func(rows *sql.Rows) error {
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

// Add stores the transactions that are new and adds them to the sums.
func (store) Add(ctx context.Context, tx *storage.Tx, transactions []Transaction) error {
	added, err := insert(ctx, tx, transactions)
	if err != nil {
		return err
	}
	batch := newTally()
	var times []time.Time
	for _, t := range transactions {
		if !added[t.OrderID] {
			continue
		}
		batch.add(t)
		times = append(times, t.ProcessedAt)
	}
	if err := addSums(ctx, tx, batch); err != nil {
		return err
	}
	return tx.Hold(ctx, times...)
}

// insert stores transactions and returns the orders that are new. One that
// another transaction is about to store is waited for.
func insert(ctx context.Context, tx *storage.Tx, transactions []Transaction) (map[string]bool, error) {
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

// addSums adds to the sums. It comes late in a transaction and takes the rows
// in their order: all who count meet in them.
func addSums(ctx context.Context, tx *storage.Tx, t tally) error {
	for _, status := range slices.Sorted(maps.Keys(t.statuses)) {
		s := t.statuses[status]
		if err := addSum(ctx, tx, addTotal, status, s); err != nil {
			return err
		}
	}
	for _, minute := range slices.Sorted(maps.Keys(t.minutes)) {
		s := t.minutes[minute]
		if err := addSum(ctx, tx, addMinute, minute, s); err != nil {
			return err
		}
	}
	return nil
}

func addSum(ctx context.Context, tx *storage.Tx, query string, key any, s sum) error {
	n, err := tx.Exec(ctx, query, key, s.count, int64(s.amount))
	if err == nil && n == 0 {
		err = fmt.Errorf("add %s to the sum of %v: %w", s.amount, key, storage.ErrOutOfRange)
	}
	return err
}

// Statistics reads all sums as of one moment: three rows and the last
// hour's minutes, however many payments there were.
func (s store) Statistics(ctx context.Context, now time.Time) (statistics, error) {
	rows, err := s.Query(ctx, selectSums, windowStart(now), minuteOf(now))
	if err != nil {
		return statistics{}, fmt.Errorf("read statistics: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var all statistics
	for rows.Next() {
		var name string
		var one sum
		if err := rows.Scan(&name, &one.count, &one.amount); err != nil {
			return statistics{}, fmt.Errorf("read statistics: %w", err)
		}
		switch name {
		case banking.StatusAuthorized:
			all.authorized = one
		case banking.StatusRejected:
			all.rejected = one
		default:
			all.lastHour = one
		}
	}
	return all, rows.Err()
}

// Recent returns the latest transactions, newest first.
func (s store) Recent(ctx context.Context, limit int) ([]Transaction, error) {
	rows, err := s.Query(ctx, selectRecent, limit)
	if err != nil {
		return nil, fmt.Errorf("read recent transactions: %w", err)
	}
	defer func() { _ = rows.Close() }()
	recent := []Transaction{}
	for rows.Next() {
		var t Transaction
		var micros int64
		if err := rows.Scan(&t.OrderID, &t.UserID, &t.Status, &t.Amount, &micros); err != nil {
			return nil, fmt.Errorf("read recent transactions: %w", err)
		}
		t.ProcessedAt = time.UnixMicro(micros).UTC()
		recent = append(recent, t)
	}
	return recent, rows.Err()
}

// Forget removes at most limit transactions decided before a time, and the
// minutes before it. The totals keep what they have counted.
func (store) Forget(ctx context.Context, tx *storage.Tx, before time.Time, limit int) (int64, error) {
	if _, err := tx.Exec(ctx, deleteMinutes, minuteOf(before)); err != nil {
		return 0, err
	}
	return tx.Exec(ctx, deleteTransactions, before.UnixMicro(), limit)
}

// Transaction is a decided payment, as it is counted.
type Transaction struct {
	OrderID     string
	EventID     string // the result's
	UserID      string
	Status      string
	Amount      banking.Money
	ProcessedAt time.Time
}

// sum is how many payments, and how much.
type sum struct {
	count  int64
	amount banking.Money
}

// plus counts one more. A batch's sum is in range: each amount has its bound.
func (s sum) plus(amount banking.Money) sum { return sum{s.count + 1, s.amount + amount} }

// tally is what a batch adds to the statistics.
type tally struct {
	statuses map[string]sum
	minutes  map[int64]sum
}

func newTally() tally { return tally{statuses: map[string]sum{}, minutes: map[int64]sum{}} }

// add counts one transaction.
func (t tally) add(tx Transaction) {
	t.statuses[tx.Status] = t.statuses[tx.Status].plus(tx.Amount)
	m := minuteOf(tx.ProcessedAt)
	t.minutes[m] = t.minutes[m].plus(tx.Amount)
}

func minuteOf(t time.Time) int64 { return t.Unix() / 60 }

// windowStart is the first minute of the last hour: the 60 minutes that end
// with the one under way.
func windowStart(now time.Time) int64 { return minuteOf(now) - 59 }

// statistics are all sums at one moment.
type statistics struct {
	authorized, rejected, lastHour sum
}

// all is the sum over both statuses.
func (s statistics) all() sum {
	return sum{s.authorized.count + s.rejected.count, s.authorized.amount + s.rejected.amount}
}

// Total is how many payments of a status were counted, and how much.
type Total struct {
	Status string
	Count  int64
	Amount banking.Money
}

// ReadTransactions gives every transaction to give, in no order, and
// ends with its first error.
func ReadTransactions(ctx context.Context, s *storage.Snapshot, give func(Transaction) error) error {
	rows, err := s.Query(ctx, selectTransactions)
	if err != nil {
		return fmt.Errorf("read transactions: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var t Transaction
		var micros int64
		if err := rows.Scan(&t.OrderID, &t.EventID, &t.UserID, &t.Status, &t.Amount, &micros); err != nil {
			return fmt.Errorf("read transactions: %w", err)
		}
		t.ProcessedAt = time.UnixMicro(micros).UTC()
		if err := give(t); err != nil {
			return err
		}
	}
	return rows.Err()
}

// ReadTotals returns the totals, one for each status.
func ReadTotals(ctx context.Context, s *storage.Snapshot) ([]Total, error) {
	rows, err := s.Query(ctx, selectTotals)
	if err != nil {
		return nil, fmt.Errorf("read totals: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []Total
	for rows.Next() {
		var t Total
		if err := rows.Scan(&t.Status, &t.Count, &t.Amount); err != nil {
			return nil, fmt.Errorf("read totals: %w", err)
		}
		out = append(out, t)
	}
	return out, rows.Err()
}

// Minute is what was counted of one minute, by the time of the decisions.
type Minute struct {
	Minute int64 // since 1970
	Count  int64
	Amount banking.Money
}

// ReadMinutes gives every minute in which something was counted, and that has
// not been forgotten, to minute, in no order, and ends with its first error.
func ReadMinutes(ctx context.Context, s *storage.Snapshot, minute func(Minute) error) error {
	rows, err := s.Query(ctx, selectMinutes)
	if err != nil {
		return fmt.Errorf("read minutes: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var m Minute
		if err := rows.Scan(&m.Minute, &m.Count, &m.Amount); err != nil {
			return fmt.Errorf("read minutes: %w", err)
		}
		if err := minute(m); err != nil {
			return err
		}
	}
	return rows.Err()
}
