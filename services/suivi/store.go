package suivi

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/storage"
)

const (
	columns = `order_id, user_id, amount, items, status, authorization_code, rejection_reason,
failure_reason, created_at, processed_at, listed_at, updated_at, events, revision`
	// These are about orders or about probes: see [table].
	selectOrder     = `SELECT ` + columns + ` FROM $table WHERE order_id = $1`
	selectOrders    = `SELECT ` + columns + ` FROM $table WHERE order_id IN $rows`
	selectHistories = `SELECT order_id, events FROM $table WHERE order_id IN $rows`
	// What another instance has written since it was read stays as it is.
	upsertOrders = `INSERT INTO $table (` + columns + `) VALUES $rows
ON CONFLICT (order_id) DO UPDATE SET user_id = excluded.user_id, amount = excluded.amount, items = excluded.items,
status = excluded.status, authorization_code = excluded.authorization_code, rejection_reason = excluded.rejection_reason,
failure_reason = excluded.failure_reason, created_at = excluded.created_at, processed_at = excluded.processed_at,
listed_at = excluded.listed_at, updated_at = excluded.updated_at, events = excluded.events, revision = excluded.revision
WHERE $table.revision = excluded.revision - 1`
	deleteProbes = `DELETE FROM probes WHERE updated_at < $1`
	selectNewest = `SELECT ` + columns + ` FROM orders
WHERE (listed_at, order_id) < ($1, $2) ORDER BY listed_at DESC, order_id DESC LIMIT $3`
	selectNewestOf = `SELECT ` + columns + ` FROM orders
WHERE status = $4 AND (listed_at, order_id) < ($1, $2) ORDER BY listed_at DESC, order_id DESC LIMIT $3`
	// Undecided orders stay: they are what somebody has to look at.
	deleteOrders = `DELETE FROM orders WHERE order_id IN (SELECT order_id FROM orders
WHERE updated_at < $1 AND status IN ('` + string(banking.OrderStatusAuthorized) + `', '` + string(banking.OrderStatusRejected) + `') LIMIT $2)
RETURNING status`
	// A counter for each status.
	addCount      = `UPDATE counters SET value = value + $1 WHERE name = $2`
	selectCount   = `SELECT CAST(SUM(value) AS BIGINT) FROM counters`
	selectCountOf = `SELECT value FROM counters WHERE name = $1`
	selectCounts  = `SELECT name, value FROM counters`
	selectViews   = `SELECT ` + columns + ` FROM orders`
)

// store is suivi's state: a view of each order.
type store struct{ *storage.Store }

// table is where views are kept. Probes are kept apart, so that no list, no count and no
// audit has one; they are shown by their ids, as orders are.
type table string

const (
	orders table = "orders"
	probes table = "probes"
)

// keptProbes is how long probes are kept, by the records' times: for who waits for them, and
// for somebody who looks why one has failed.
const keptProbes = time.Hour

func tableOf(orderID string) table {
	if banking.IsProbe(orderID) {
		return probes
	}
	return orders
}

// query is a query about the table.
func (t table) query(text string) string { return strings.ReplaceAll(text, "$table", string(t)) }

// inTables calls do for each of the tables with those of the orders that are in it, in an order
// that all keep.
func inTables(orderIDs []string, do func(t table, ids []string) error) error {
	for _, t := range []table{orders, probes} {
		ids := slices.DeleteFunc(slices.Clone(orderIDs), func(id string) bool { return tableOf(id) != t })
		if len(ids) == 0 {
			continue
		}
		if err := do(t, ids); err != nil {
			return err
		}
	}
	return nil
}

// scanner is a row to read from.
type scanner interface{ Scan(dest ...any) error }

func scanView(row scanner) (view, error) {
	var v view
	var items, events string
	var amount, created, processed, listed, updated int64
	err := row.Scan(&v.OrderID, &v.UserID, &amount, &items, &v.Status, &v.AuthorizationCode, &v.RejectionReason,
		&v.FailureReason, &created, &processed, &listed, &updated, &events, &v.Revision)
	if err != nil {
		return view{}, err
	}
	v.Amount = banking.Money(amount)
	v.CreatedAt, v.ProcessedAt = fromMicros(created), fromMicros(processed)
	v.ListedAt, v.UpdatedAt = fromMicros(listed), fromMicros(updated)
	if err := json.Unmarshal([]byte(items), &v.Items); err != nil {
		return view{}, fmt.Errorf("decode items of %s: %w: %w", v.OrderID, storage.ErrDamaged, err)
	}
	if err := json.Unmarshal([]byte(events), &v.Events); err != nil {
		return view{}, fmt.Errorf("decode events of %s: %w: %w", v.OrderID, storage.ErrDamaged, err)
	}
	return v, nil
}

// Order returns one order; the error of an unknown one is [storage.IsNotFound].
func (s store) Order(ctx context.Context, id string) (view, error) {
	return scanView(s.QueryRow(ctx, tableOf(id).query(selectOrder), id))
}

// Count is how many orders of the status there are, "" for all.
func (s store) Count(ctx context.Context, status banking.OrderStatus) (n int64, err error) {
	if status == "" {
		err = s.QueryRow(ctx, selectCount).Scan(&n)
	} else {
		err = s.QueryRow(ctx, selectCountOf, string(status)).Scan(&n)
	}
	return n, err
}

// Page reads a page, newest first, and says whether more follow. Orders that
// arrive meanwhile do not shift it.
func (s store) Page(ctx context.Context, l listing) (views []view, more bool, err error) {
	query, args := selectNewest, []any{l.after.listedAt, l.after.orderID, l.limit + 1}
	if l.after.status != "" {
		query, args = selectNewestOf, append(args, string(l.after.status))
	}
	rows, err := s.Query(ctx, query, args...)
	if err != nil {
		return nil, false, fmt.Errorf("list orders: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		v, err := scanView(rows)
		if err != nil {
			return nil, false, fmt.Errorf("list orders: %w", err)
		}
		views = append(views, v)
	}
	if len(views) > l.limit {
		return views[:l.limit], true, rows.Err()
	}
	return views, false, rows.Err()
}

// Add adds facts to the views of their orders, of each order at most one.
func (store) Add(ctx context.Context, tx *storage.Tx, facts []fact) error {
	ids := make([]string, len(facts))
	for i, f := range facts {
		ids[i] = f.OrderID
	}
	known, err := find(ctx, tx, ids)
	if err != nil {
		return err
	}
	views := map[table][]view{}
	changes := map[banking.OrderStatus]int{}
	var times []time.Time // of what may be forgotten
	for _, f := range facts {
		before, ok := known[f.OrderID]
		if stale(before.Events, f) {
			return fmt.Errorf("%w: %s is known otherwise by now", storage.ErrFenced, f.OrderID)
		}
		after, in := project(before, f), tableOf(f.OrderID)
		views[in] = append(views[in], after)
		if in == probes {
			continue
		}
		if ok {
			changes[before.Status]--
		}
		changes[after.Status]++
		if after.Status.Decided() {
			times = append(times, after.UpdatedAt)
		}
	}
	if err := save(ctx, tx, orders, views[orders]); err != nil {
		return err
	}
	if err := saveProbes(ctx, tx, views[probes]); err != nil {
		return err
	}
	if err := count(ctx, tx, changes); err != nil {
		return err
	}
	return tx.Hold(ctx, times...)
}

// saveProbes stores views of probes, and removes those that are of long before them.
func saveProbes(ctx context.Context, tx *storage.Tx, views []view) error {
	if len(views) == 0 {
		return nil
	}
	if err := save(ctx, tx, probes, views); err != nil {
		return err
	}
	newest := slices.MaxFunc(views, func(v, w view) int { return v.UpdatedAt.Compare(w.UpdatedAt) }).UpdatedAt
	_, err := tx.Exec(ctx, deleteProbes, toMicros(newest.Add(-keptProbes)))
	return err
}

// stale says whether the fact would not have been taken, or otherwise, if all
// that is known now had been known then: its record has to be looked at again.
func stale(events []moment, f fact) bool {
	if seen(events, f.EventID) {
		return false
	}
	return contradicts(events, f) || f.Type == banking.TypeOrderCreated && len(strangers(events, f.EventID)) != f.Strangers
}

// find returns those of the orders that are known, as the transaction sees
// them, and keeps them to it.
func find(ctx context.Context, tx *storage.Tx, orderIDs []string) (map[string]view, error) {
	found := make(map[string]view, len(orderIDs))
	err := inTables(orderIDs, func(t table, ids []string) error {
		return tx.LockKeys(ctx, t.query(selectOrders), ids, func(rows *sql.Rows) error {
			v, err := scanView(rows)
			found[v.OrderID] = v
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	return found, nil
}

// save stores views, each order's at most once. It returns
// [storage.ErrConflict] where somebody has written one since it was found: an
// order that nobody knew then cannot be kept to a transaction.
func save(ctx context.Context, tx *storage.Tx, in table, views []view) error {
	rows := make([][]any, len(views))
	for i, v := range views {
		items, err := json.Marshal(v.Items)
		if err != nil {
			return fmt.Errorf("encode items of %s: %w", v.OrderID, err)
		}
		events, err := json.Marshal(v.Events)
		if err != nil {
			return fmt.Errorf("encode events of %s: %w", v.OrderID, err)
		}
		rows[i] = []any{
			v.OrderID, v.UserID, int64(v.Amount), string(items), string(v.Status),
			v.AuthorizationCode, v.RejectionReason, v.FailureReason, toMicros(v.CreatedAt), toMicros(v.ProcessedAt),
			toMicros(v.ListedAt), toMicros(v.UpdatedAt), string(events), v.Revision + 1,
		}
	}
	// One order after the other, as everybody takes them.
	slices.SortFunc(rows, func(a, b []any) int { return cmp.Compare(a[0].(string), b[0].(string)) })
	n, err := tx.InsertRowsCounting(ctx, in.query(upsertOrders), rows)
	if err != nil {
		return err
	}
	if n != int64(len(rows)) {
		return fmt.Errorf("write %d orders: %w", len(rows), storage.ErrConflict)
	}
	return nil
}

// count keeps the number of orders of each status, so that asking for it reads
// one row. All take the counters in one order.
func count(ctx context.Context, tx *storage.Tx, changes map[banking.OrderStatus]int) error {
	for _, status := range slices.Sorted(maps.Keys(changes)) {
		if changes[status] == 0 {
			continue
		}
		if _, err := tx.Exec(ctx, addCount, changes[status], string(status)); err != nil {
			return err
		}
	}
	return nil
}

// Histories returns the events of those of the orders that are known.
func (s store) Histories(ctx context.Context, orderIDs []string) (histories, error) {
	known := make(histories, len(orderIDs))
	err := inTables(orderIDs, func(t table, ids []string) error {
		return s.SelectKeys(ctx, t.query(selectHistories), ids, func(rows *sql.Rows) error {
			var id, text string
			if err := rows.Scan(&id, &text); err != nil {
				return err
			}
			var events []moment
			if err := json.Unmarshal([]byte(text), &events); err != nil {
				return fmt.Errorf("decode events of %s: %w: %w", id, storage.ErrDamaged, err)
			}
			known[id] = events
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read histories: %w", err)
	}
	return known, nil
}

// toMicros stores the zero time as 0.
func toMicros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// Forget removes at most limit decided orders that nothing has happened to
// since a time.
func (store) Forget(ctx context.Context, tx *storage.Tx, before time.Time, limit int) (int64, error) {
	var n int64
	changes := map[banking.OrderStatus]int{}
	err := tx.QueryEach(ctx, deleteOrders, []any{before.UnixMicro(), limit}, func(rows *sql.Rows) error {
		var status banking.OrderStatus
		n++
		err := rows.Scan(&status)
		changes[status]--
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, count(ctx, tx, changes)
}

// View is an order as it is shown, for those who look on. A time that is not
// known is zero.
type View struct {
	OrderID, UserID   string
	Amount            banking.Money
	Items             []string
	Status            banking.OrderStatus
	AuthorizationCode string
	RejectionReason   string
	FailureReason     string
	CreatedAt         time.Time
	ProcessedAt       time.Time
	ListedAt          time.Time // what gives the list its order
	UpdatedAt         time.Time
	Events            []Moment
}

// Moment is one event in an order's history. That of a dead letter has the
// place of the record that was set aside for its id.
type Moment struct {
	EventID string
	Type    string
	At      time.Time
}

func (v view) shown() View {
	out := View{
		v.OrderID, v.UserID, v.Amount, v.Items, v.Status, v.AuthorizationCode, v.RejectionReason, v.FailureReason,
		v.CreatedAt, v.ProcessedAt, v.ListedAt, v.UpdatedAt, make([]Moment, len(v.Events)),
	}
	for i, m := range v.Events {
		out.Events[i] = Moment{m.EventID, m.Type, m.At}
	}
	return out
}

// ReadViews gives every order to give, in no order, and ends with its first
// error.
func ReadViews(ctx context.Context, s *storage.Snapshot, give func(View) error) error {
	rows, err := s.Query(ctx, selectViews)
	if err != nil {
		return fmt.Errorf("read views: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		v, err := scanView(rows)
		if err != nil {
			return fmt.Errorf("read views: %w", err)
		}
		if err := give(v.shown()); err != nil {
			return err
		}
	}
	return rows.Err()
}

// ReadCounts returns how many orders of each status suivi says that there are.
func ReadCounts(ctx context.Context, s *storage.Snapshot) (map[banking.OrderStatus]int64, error) {
	rows, err := s.Query(ctx, selectCounts)
	if err != nil {
		return nil, fmt.Errorf("read the counts of orders: %w", err)
	}
	defer func() { _ = rows.Close() }()
	counts := map[banking.OrderStatus]int64{}
	for rows.Next() {
		var status banking.OrderStatus
		var n int64
		if err := rows.Scan(&status, &n); err != nil {
			return nil, fmt.Errorf("read the counts of orders: %w", err)
		}
		counts[status] = n
	}
	return counts, rows.Err()
}
