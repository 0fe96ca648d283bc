package storage_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/vigie-dev/vigie/internal/storage"
)

const (
	insertNotes   = `INSERT INTO notes (id, body) VALUES $rows`
	insertNewOnes = insertNotes + ` ON CONFLICT DO NOTHING RETURNING id`
	selectBodies  = `SELECT id FROM notes WHERE body IN $rows`
)

func rows(from, to int) (all [][]any) {
	for id := from; id < to; id++ {
		all = append(all, []any{id, fmt.Sprintf("body-%d", id)})
	}
	return all
}

// collect makes a scan that notes ids.
func collect(ids map[int]int) func(*sql.Rows) error {
	return func(r *sql.Rows) error {
		var id int
		err := r.Scan(&id)
		ids[id]++
		return err
	}
}

func TestAnyNumberOfRowsAndKeys(t *testing.T) { onEach(t, testAnyNumberOfRowsAndKeys) }

func testAnyNumberOfRowsAndKeys(t *testing.T, empty maker) {
	for _, n := range []int{0, 1, 3, 4, 5, 16, 63, 64, 65, 85, 200} {
		s := open(t, empty)
		update(t, s, func(ctx context.Context, tx *storage.Tx) error { return tx.InsertRows(ctx, insertNotes, rows(0, n)) })
		if stored := number(t, s, countNotes); stored != n {
			t.Errorf("%d of %d rows are stored", stored, n)
		}
		want := map[int]int{}
		keys := []string{"unknown"}
		for id := range n {
			want[id] = 1
			keys = append(keys, fmt.Sprintf("body-%d", id))
		}
		outside, inside := map[int]int{}, map[int]int{}
		if err := s.SelectKeys(t.Context(), selectBodies, keys, collect(outside)); err != nil {
			t.Fatal(err)
		}
		update(t, s, func(ctx context.Context, tx *storage.Tx) error {
			return tx.SelectKeys(ctx, selectBodies, keys, collect(inside))
		})
		if !maps.Equal(outside, want) || !maps.Equal(inside, want) {
			t.Errorf("of %d keys %v are found outside a transaction and %v inside", n, outside, inside)
		}
	}
}

func TestInsertRowsReturning(t *testing.T) { onEach(t, testInsertRowsReturning) }

func testInsertRowsReturning(t *testing.T, empty maker) {
	s := open(t, empty)
	added := map[int]int{}
	for _, upTo := range []int{70, 90} {
		clear(added)
		update(t, s, func(ctx context.Context, tx *storage.Tx) error {
			return tx.InsertRowsReturning(ctx, insertNewOnes, rows(0, upTo), collect(added))
		})
	}
	ids := slices.Sorted(maps.Keys(added))
	if len(ids) != 20 || ids[0] != 70 || ids[19] != 89 {
		t.Errorf("new are %v, want 70 to 89", ids)
	}
}

func TestARowThatIsRefusedRefusesAll(t *testing.T) { onEach(t, testARowThatIsRefusedRefusesAll) }

func testARowThatIsRefusedRefusesAll(t *testing.T, empty maker) {
	s := open(t, empty)
	update(t, s, func(ctx context.Context, tx *storage.Tx) error { return tx.InsertRows(ctx, insertNotes, rows(99, 100)) })
	err := s.Update(t.Context(), func(tx *storage.Tx) error { return tx.InsertRows(t.Context(), insertNotes, rows(0, 100)) })
	if n := number(t, s, countNotes); err == nil || n != 1 {
		t.Errorf("%d rows are stored, %v; want the first alone", n, err)
	}
}

func TestAScanThatFailsEndsTheQuery(t *testing.T) { onEach(t, testAScanThatFailsEndsTheQuery) }

func testAScanThatFailsEndsTheQuery(t *testing.T, empty maker) {
	s := open(t, empty)
	broken := errors.New("broken")
	fail := func(*sql.Rows) error { return broken }
	if err := s.Update(t.Context(), func(tx *storage.Tx) error {
		return tx.InsertRowsReturning(t.Context(), insertNewOnes, rows(0, 2), fail)
	}); !errors.Is(err, broken) {
		t.Errorf("insert: %v", err)
	}
	update(t, s, func(ctx context.Context, tx *storage.Tx) error { return tx.InsertRows(ctx, insertNotes, rows(0, 2)) })
	if err := s.SelectKeys(t.Context(), selectBodies, []string{"body-0", "body-1"}, fail); !errors.Is(err, broken) {
		t.Errorf("select: %v", err)
	}
}

func TestInsertRowsCounting(t *testing.T) { onEach(t, testInsertRowsCounting) }

func testInsertRowsCounting(t *testing.T, empty maker) {
	s := open(t, empty)
	var changed []int64
	for _, upTo := range []int{70, 90} {
		update(t, s, func(ctx context.Context, tx *storage.Tx) error {
			n, err := tx.InsertRowsCounting(ctx, insertNotes+` ON CONFLICT DO NOTHING`, rows(0, upTo))
			changed = append(changed, n)
			return err
		})
	}
	if changed[0] != 70 || changed[1] != 20 {
		t.Errorf("%v rows are new, want 70 and 20", changed)
	}
}
