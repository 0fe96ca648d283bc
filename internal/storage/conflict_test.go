package storage_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/vigie-dev/vigie/internal/storage"
)

func scanInto(dest ...any) func(*sql.Rows) error {
	return func(rows *sql.Rows) error { return rows.Scan(dest...) }
}

func TestAConflictIsTriedAgain(t *testing.T) { onEach(t, testAConflictIsTriedAgain) }

func testAConflictIsTriedAgain(t *testing.T, empty maker) {
	s := open(t, empty)
	tries := 0
	update(t, s, func(ctx context.Context, tx *storage.Tx) error {
		tries++
		if err := note(ctx, tx, tries, "kept"); err != nil {
			return err
		}
		if tries < 3 {
			return storage.ErrConflict
		}
		return nil
	})
	if n := number(t, s, countNotes); tries != 3 || n != 1 {
		t.Errorf("after %d tries %d notes are kept, want the third's", tries, n)
	}
	tries = 0
	if err := s.Update(t.Context(), func(*storage.Tx) error { tries++; return storage.ErrConflict }); !errors.Is(err, storage.ErrConflict) || tries < 5 {
		t.Errorf("a conflict without end: %v after %d tries", err, tries)
	}
}

func TestIsUnique(t *testing.T) { onEach(t, testIsUnique) }

func testIsUnique(t *testing.T, empty maker) {
	s := open(t, empty)
	twice := func(query string, args ...any) error {
		return s.Update(t.Context(), func(tx *storage.Tx) error {
			_, err := tx.Exec(t.Context(), query, args...)
			return err
		})
	}
	if err := twice(insertNote, 1, "one"); err != nil || storage.IsUnique(err) {
		t.Fatal(err)
	}
	if err := twice(insertNote, 1, "two"); !storage.IsUnique(err) {
		t.Errorf("a key twice: %v", err)
	}
	if err := twice(insertNote, 2, nil); err == nil || storage.IsUnique(err) {
		t.Errorf("a body that is null: %v", err)
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
