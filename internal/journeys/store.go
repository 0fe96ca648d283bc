package journeys

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

const (
	columns = `order_id, event_id, amount, accepted_us, record_log, record_offset, decided_us, result, result_amount, result_log, result_offset,
aside_us, back_us, purged_us, visible_us, contradictory, outcome, stage, touched_us`
	// insertKeys makes rows to be locked: of two instances that learn of an order at
	// once, the second then sees what the first has stored.
	insertKeys = `INSERT INTO journeys (order_id, event_id) VALUES $rows ON CONFLICT DO NOTHING`
	selectRows = `SELECT ` + columns + ` FROM journeys WHERE order_id IN $rows`
	upsertRows = `INSERT INTO journeys (` + columns + `) VALUES $rows ON CONFLICT (order_id, event_id) DO UPDATE SET
amount = excluded.amount, accepted_us = excluded.accepted_us, record_log = excluded.record_log, record_offset = excluded.record_offset,
decided_us = excluded.decided_us, result = excluded.result, result_amount = excluded.result_amount,
result_log = excluded.result_log, result_offset = excluded.result_offset, aside_us = excluded.aside_us, back_us = excluded.back_us,
purged_us = excluded.purged_us, visible_us = excluded.visible_us, contradictory = excluded.contradictory,
outcome = excluded.outcome, stage = excluded.stage, touched_us = excluded.touched_us`
	addOutcome = `UPDATE outcomes SET value = value + $2 WHERE name = $1`

	insertLetter = `INSERT INTO letters (origin, topic, reason, order_id, event_id, since_us) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`
	insertCopy   = `INSERT INTO copies (place, origin, seen_us) VALUES ($1, $2, $3)
ON CONFLICT (place) DO UPDATE SET origin = excluded.origin RETURNING origin, resolution, resolved_us`
	insertMarker = `INSERT INTO copies (place, resolution, resolved_us, seen_us) VALUES ($1, $2, $3, $3)
ON CONFLICT (place) DO UPDATE SET resolved_us = excluded.resolved_us,
resolution = CASE WHEN copies.resolution < excluded.resolution THEN excluded.resolution ELSE copies.resolution END
RETURNING origin, resolution, resolved_us`
	resolveLetter = `UPDATE letters SET resolved_us = CASE WHEN resolved_us < $3 THEN $3 ELSE resolved_us END,
resolution = CASE WHEN resolution < $2 THEN $2 ELSE resolution END
WHERE origin = $1 RETURNING order_id, event_id`
	selectLetters = `SELECT order_id, event_id, MIN(since_us), MAX(resolved_us), SUM(CASE WHEN resolution = 0 THEN 1 ELSE 0 END),
SUM(CASE WHEN resolution = 2 THEN 1 ELSE 0 END) FROM letters WHERE order_id IN $rows GROUP BY order_id, event_id`

	selectInvisible = `SELECT order_id FROM journeys WHERE stage = 2 AND result_log = $1 AND result_offset < $2 ORDER BY result_offset LIMIT $3`
	bringBack       = `UPDATE journeys SET accepted_us = $1, decided_us = CASE WHEN decided_us > $1 THEN $1 ELSE decided_us END,
aside_us = CASE WHEN aside_us > $1 THEN $1 ELSE aside_us END, back_us = CASE WHEN back_us > $1 THEN $1 ELSE back_us END
WHERE outcome = 0 AND stage > 0 AND accepted_us > $2`
	selectUncounted = `SELECT order_id FROM journeys WHERE outcome = 0 AND stage > 0 AND accepted_us <= $1 ORDER BY accepted_us LIMIT $2`

	selectOutcomes  = `SELECT name, value FROM outcomes`
	selectWaiting   = `SELECT COUNT(*), COALESCE(MIN(accepted_us), 0) FROM journeys WHERE stage IN (1, 2)`
	selectSetAside  = `SELECT topic, reason, COUNT(*), MIN(since_us) FROM letters WHERE resolution = 0 GROUP BY topic, reason`
	selectPositions = `SELECT topic, partition, next_offset FROM positions`

	deleteRows = `DELETE FROM journeys WHERE (order_id, event_id) IN
(SELECT order_id, event_id FROM journeys WHERE stage IN (0, 4) AND touched_us < $1 LIMIT $2)`
	deleteLetters = `DELETE FROM letters WHERE origin IN (SELECT origin FROM letters WHERE resolution > 0 AND resolved_us < $1 LIMIT $2)`
	deleteCopies  = `DELETE FROM copies WHERE place IN (SELECT place FROM copies WHERE seen_us < $1 AND NOT EXISTS
(SELECT 1 FROM letters WHERE letters.origin = copies.origin) LIMIT $2)`
)

// store is the ledger: every accepted order until nothing can change what came of it.
type store struct{ *storage.Store }

// Take takes what records say, inside their transaction.
func (s store) Take(ctx context.Context, tx *storage.Tx, facts []*fact) error {
	refreshed, err := s.takeLetters(ctx, tx, facts)
	if err != nil {
		return err
	}
	keys := map[[2]string]bool{}
	for _, f := range facts {
		f.took = nil // of an earlier try
		if f.order != "" {
			keys[[2]string{f.order, f.event}] = true
		}
	}
	for key := range refreshed {
		keys[key] = true
	}
	orders, err := lock(ctx, tx, keys)
	if err != nil {
		return err
	}
	before := orders.clone()
	for _, f := range facts {
		if f.order != "" {
			orders.of(f.order).take(f)
		}
	}
	if err := orders.refresh(ctx, tx, refreshed); err != nil {
		return err
	}
	return orders.save(ctx, tx, before)
}

// takeLetters takes dead letters and what became of them, and returns the orders, by id
// and event, that they are of.
func (s store) takeLetters(ctx context.Context, tx *storage.Tx, facts []*fact) (map[[2]string]bool, error) {
	touched := map[[2]string]bool{}
	for _, f := range facts {
		var origin string
		var resolution, at int64
		switch f.kind {
		case setAside:
			if _, err := tx.Exec(ctx, insertLetter, f.origin, f.place.Topic, f.reason, f.order, f.event, int64(f.at)); err != nil {
				return nil, err
			}
			if err := tx.QueryRow(ctx, insertCopy, f.place.String(), f.origin, int64(f.at)).Scan(&origin, &resolution, &at); err != nil {
				return nil, fmt.Errorf("store a dead letter: %w", err)
			}
			touched[[2]string{f.order, f.event}] = f.order != ""
		case resolved:
			resolution = 1
			if f.purged {
				resolution = 2
			}
			if err := tx.QueryRow(ctx, insertMarker, f.letter.String(), resolution, int64(f.at)).Scan(&origin, &resolution, &at); err != nil {
				return nil, fmt.Errorf("store what became of a dead letter: %w", err)
			}
		default:
		}
		if origin == "" || resolution == 0 {
			continue
		}
		var order, event string
		switch err := tx.QueryRow(ctx, resolveLetter, origin, resolution, at).Scan(&order, &event); {
		case storage.IsNotFound(err): // it has been forgotten
		case err != nil:
			return nil, fmt.Errorf("resolve a dead letter: %w", err)
		default:
			touched[[2]string{order, event}] = order != ""
		}
	}
	maps.DeleteFunc(touched, func(_ [2]string, ofAnOrder bool) bool { return !ofAnOrder })
	return touched, nil
}

// locked are orders that a transaction has to itself, by id.
type locked map[string]*namesakes

func (l locked) of(id string) *namesakes {
	if l[id] == nil {
		l[id] = &namesakes{}
	}
	return l[id]
}

// clone copies what is there, to see later what has changed.
func (l locked) clone() map[[2]string]order {
	out := map[[2]string]order{}
	for id, all := range l {
		for _, o := range *all {
			out[[2]string{id, o.event}] = *o
		}
	}
	return out
}

// lock makes the rows of the keys and gives them, with their namesakes, to the transaction.
func lock(ctx context.Context, tx *storage.Tx, keys map[[2]string]bool) (locked, error) {
	var rows [][]any
	var ids []string
	for _, key := range slices.SortedFunc(maps.Keys(keys), func(a, b [2]string) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) }) {
		rows = append(rows, []any{key[0], key[1]})
		ids = append(ids, key[0])
	}
	if err := tx.InsertRows(ctx, insertKeys, rows); err != nil {
		return nil, err
	}
	return lockIDs(ctx, tx, slices.Compact(ids))
}

func lockIDs(ctx context.Context, tx *storage.Tx, ids []string) (locked, error) {
	orders := locked{}
	err := tx.LockKeys(ctx, selectRows, ids, func(rows *sql.Rows) error {
		o, err := scan(rows)
		if err == nil {
			all := orders.of(o.id)
			*all = append(*all, o)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("lock journeys: %w", err)
	}
	return orders, nil
}

func scan(rows *sql.Rows) (*order, error) {
	var o order
	var contradictory, outcome, stage int64
	err := rows.Scan(&o.id, &o.event, &o.amount, &o.accepted, &o.record.log, &o.record.offset, &o.decided, &o.result, &o.resultAmount,
		&o.resultAt.log, &o.resultAt.offset, &o.aside, &o.back, &o.purged, &o.visible, &contradictory, &outcome, &stage, &o.touched)
	o.contradictory = contradictory != 0
	if outcome > 0 {
		o.outcome = Outcomes()[outcome-1]
	}
	return &o, err
}

// row is the order as its row has it.
func (o *order) row() []any {
	var contradictory int64
	if o.contradictory {
		contradictory = 1
	}
	return []any{
		o.id, o.event, int64(o.amount), int64(o.accepted), o.record.log, o.record.offset, int64(o.decided), o.result, int64(o.resultAmount),
		o.resultAt.log, o.resultAt.offset, int64(o.aside), int64(o.back), int64(o.purged), int64(o.visible), contradictory,
		int64(slices.Index(Outcomes(), o.outcome) + 1), int64(o.stage()), int64(o.touched),
	}
}

// letterState is what is known of an order's dead letters together.
type letterState struct {
	aside, resolved micros // the first, and the last resolution
	waiting, purged int64
}

// on puts it on the order that the letters are of.
func (s letterState) on(o *order) {
	o.aside, o.back = s.aside, s.resolved
	if s.waiting > 0 {
		o.back = 0
	}
	if s.waiting == 0 && s.purged > 0 && o.purged == 0 {
		o.purged = s.resolved
	}
}

// refresh brings what is known of the letters of some orders up to date.
func (l locked) refresh(ctx context.Context, tx *storage.Tx, keys map[[2]string]bool) error {
	var ids []string
	for key := range keys {
		ids = append(ids, key[0])
	}
	slices.Sort(ids)
	err := tx.SelectKeys(ctx, selectLetters, slices.Compact(ids), func(rows *sql.Rows) error {
		var id, event string
		var state letterState
		err := rows.Scan(&id, &event, &state.aside, &state.resolved, &state.waiting, &state.purged)
		if err == nil {
			state.on(l.of(id).of(id, event))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("read the orders' dead letters: %w", err)
	}
	return nil
}

// save stores what has changed.
func (l locked) save(ctx context.Context, tx *storage.Tx, before map[[2]string]order) error {
	var rows [][]any
	for _, id := range slices.Sorted(maps.Keys(l)) {
		for _, o := range *l[id] {
			if *o != before[[2]string{id, o.event}] {
				rows = append(rows, o.row())
			}
		}
	}
	return tx.InsertRows(ctx, upsertRows, rows)
}

// Judge judges orders of some ids, in one transaction: change, where it is not nil, first says what else
// is known of each. What it finds is counted with it. It returns the orders that were counted, by
// what came of them.
func (s store) Judge(ctx context.Context, ids []string, h horizon, change func(*order)) (counted map[Outcome]int64, err error) {
	err = s.Update(ctx, func(tx *storage.Tx) error {
		orders, err := lockIDs(ctx, tx, ids)
		if err != nil {
			return err
		}
		before := orders.clone()
		counted = map[Outcome]int64{}
		for _, all := range orders {
			for _, o := range *all {
				if change != nil {
					change(o)
				}
				if open := o.outcome == ""; open {
					if o.outcome = o.judge(h); o.outcome != "" {
						counted[o.outcome]++
					}
				}
			}
		}
		if err := orders.save(ctx, tx, before); err != nil {
			return err
		}
		for _, outcome := range slices.Sorted(maps.Keys(counted)) { // last, and in order: all who count meet here
			if _, err := tx.Exec(ctx, addOutcome, string(outcome), counted[outcome]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("judge orders: %w", err)
	}
	return counted, nil
}

// Invisible returns some orders whose decision stands before an offset and was not yet
// seen to be shown, the first first.
func (s store) Invisible(ctx context.Context, before place, limit int) ([]string, error) {
	return s.ids(ctx, selectInvisible, before.log, before.offset, limit)
}

// maxAhead is how far ahead an order may be accepted: clocks of instances differ.
const maxAhead = micros(60e6)

// BringBack has orders be accepted now that were accepted far ahead, by a clock that is right again: else they would
// be counted only then.
func (s store) BringBack(ctx context.Context, now micros) error {
	err := s.Update(ctx, func(tx *storage.Tx) error {
		_, err := tx.Exec(ctx, bringBack, int64(now), int64(now+maxAhead))
		return err
	})
	if err != nil {
		return fmt.Errorf("bring orders back from the future: %w", err)
	}
	return nil
}

// Uncounted returns some orders that were accepted by a time and are not counted, the
// oldest first.
func (s store) Uncounted(ctx context.Context, until micros, limit int) ([]string, error) {
	return s.ids(ctx, selectUncounted, int64(until), limit)
}

func (s store) ids(ctx context.Context, query string, args ...any) (ids []string, err error) {
	err = s.each(ctx, query, args, func(rows *storage.Rows) error {
		var id string
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	})
	slices.Sort(ids)
	return slices.Compact(ids), err
}

func (s store) each(ctx context.Context, query string, args []any, scan func(*storage.Rows) error) error {
	rows, err := s.Query(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("read the journeys: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("read the journeys: %w", err)
		}
	}
	return rows.Err()
}

// Positions returns how far each partition has been read, by whichever instance.
func (s store) Positions(ctx context.Context) (map[record.Partition]int64, error) {
	out := map[record.Partition]int64{}
	err := s.each(ctx, selectPositions, nil, func(rows *storage.Rows) error {
		var p record.Partition
		var next int64
		err := rows.Scan(&p.Topic, &p.ID, &next)
		out[p] = next
		return err
	})
	return out, err
}

// Forget removes at most about limit of what ended, or whose letter was resolved, before
// a time: nothing can change it any more.
func (store) Forget(ctx context.Context, tx *storage.Tx, before time.Time, limit int) (int64, error) {
	var most int64
	for _, query := range []string{deleteRows, deleteLetters, deleteCopies} {
		n, err := tx.Exec(ctx, query, before.UnixMicro(), limit)
		if err != nil {
			return 0, err
		}
		most = max(most, n)
	}
	return most, nil
}
