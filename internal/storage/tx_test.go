package storage_test

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

// Each update tells how long it took, whatever came of it.
func TestUpdatesAreTimed(t *testing.T) {
	timed := 0
	s, err := storage.Open(t.Context(), sqliteIn(t), "clerk", notes(), storage.OnUpdate(func(took time.Duration) {
		if timed++; took <= 0 {
			t.Errorf("an update took %s", took)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, s) })
	timed = 0 // opening it may have stored something
	for _, want := range []error{nil, errors.New("broken")} {
		if err := s.Update(t.Context(), func(*storage.Tx) error { return want }); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	if timed != 2 {
		t.Errorf("%d of 2 updates were timed", timed)
	}
}

func TestUpdateStoresAllOrNothing(t *testing.T) { onEach(t, testUpdateStoresAllOrNothing) }

func testUpdateStoresAllOrNothing(t *testing.T, empty maker) {
	broken, errCancelled := errors.New("broken"), errors.New("cancelled")
	tests := []struct {
		name string
		end  func(ctx context.Context, cancel func(), tx *storage.Tx) error
		want error // nil: everything is stored
	}{
		{"success", func(context.Context, func(), *storage.Tx) error { return nil }, nil},
		{"error", func(context.Context, func(), *storage.Tx) error { return broken }, broken},
		{"panic", func(context.Context, func(), *storage.Tx) error { panic(broken) }, broken},
		{"fenced", func(ctx context.Context, _ func(), tx *storage.Tx) error {
			return tx.Advance(ctx, orders(), 7, 8, time.Time{})
		}, storage.ErrFenced},
		{"cancelled before the commit", func(_ context.Context, cancel func(), _ *storage.Tx) error {
			cancel()
			return nil
		}, errCancelled},
	}
	for _, test := range tests {
		for _, prepared := range []bool{false, true} {
			t.Run(test.name, func(t *testing.T) {
				s := open(t, empty)
				if prepared { // a statement is kept once a transaction with it has been stored
					update(t, s, func(ctx context.Context, tx *storage.Tx) error {
						return note(ctx, tx, 1, "before")
					})
					update(t, s, func(ctx context.Context, tx *storage.Tx) error {
						_, err := tx.Exec(ctx, `DELETE FROM notes`)
						return err
					})
				}
				if err := s.StartAt(t.Context(), orders(), 4); err != nil {
					t.Fatal(err)
				}
				err := attempt(t, s, test.end)
				if errors.Is(err, context.Canceled) || errors.Is(err, sql.ErrTxDone) { // whichever database/sql sees first
					err = errCancelled
				}
				if !errors.Is(err, test.want) {
					t.Errorf("error %v, want %v", err, test.want)
				}
				checkStored(t, s, test.want == nil)
				// The one writing connection has come back.
				update(t, s, func(ctx context.Context, tx *storage.Tx) error { return note(ctx, tx, 99, "after") })
			})
		}
	}
}

// attempt changes one thing of each kind and then ends by end; a panic that
// comes through is returned as an error.
func attempt(t *testing.T, s *storage.Store, end func(context.Context, func(), *storage.Tx) error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fault.(error)
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	return s.Update(ctx, func(tx *storage.Tx) error {
		if err := errors.Join(
			note(ctx, tx, 1, "one"),
			note(ctx, tx, 2, "two"),
			tx.Enqueue(ctx, orders(), 4, []record.Message{{Topic: "out", Value: []byte("x")}}),
			tx.Advance(ctx, orders(), 4, 5, time.Time{}),
		); err != nil {
			t.Error(err)
		}
		return end(ctx, cancel, tx)
	})
}

func checkStored(t *testing.T, s *storage.Store, all bool) {
	t.Helper()
	wantNotes, wantOutbox, wantNext := 0, 0, int64(4)
	if all {
		wantNotes, wantOutbox, wantNext = 2, 1, 5
	}
	if n := number(t, s, countNotes); n != wantNotes {
		t.Errorf("%d notes are stored, want %d", n, wantNotes)
	}
	if n := number(t, s, `SELECT COUNT(*) FROM outbox`); n != wantOutbox {
		t.Errorf("the outbox has %d batches, want %d", n, wantOutbox)
	}
	if next, _ := position(t, s, orders()); next != wantNext {
		t.Errorf("next offset %d, want %d", next, wantNext)
	}
}

func TestATransactionSeesItsOwnChangesAndOthersDoNot(t *testing.T) {
	onEach(t, testATransactionSeesItsOwnChangesAndOthersDoNot)
}

func testATransactionSeesItsOwnChangesAndOthersDoNot(t *testing.T, empty maker) {
	s := open(t, empty)
	update(t, s, func(ctx context.Context, tx *storage.Tx) error {
		if err := note(ctx, tx, 1, "one"); err != nil {
			return err
		}
		var inside int
		if err := tx.QueryRow(ctx, countNotes).Scan(&inside); err != nil {
			return err
		}
		if outside := number(t, s, countNotes); inside != 1 || outside != 0 {
			t.Errorf("before the commit: %d inside, %d outside; want 1 and 0", inside, outside)
		}
		return nil
	})
	if n := number(t, s, countNotes); n != 1 {
		t.Errorf("%d notes after the commit, want 1", n)
	}
}

func TestStatementsThatAreWrong(t *testing.T) { onEach(t, testStatementsThatAreWrong) }

func testStatementsThatAreWrong(t *testing.T, empty maker) {
	s := open(t, empty)
	const nonsense = "SELECT nothing FROM nowhere"
	if rows, err := s.Query(t.Context(), nonsense); err == nil {
		t.Errorf("nonsense was queried: %v", errors.Join(rows.Err(), rows.Close()))
	}
	if err := s.QueryRow(t.Context(), nonsense).Scan(new(int)); err == nil || storage.IsNotFound(err) {
		t.Errorf("nonsense scanned with %v", err)
	}
	// A statement that fails fails its transaction.
	if err := s.Update(t.Context(), func(tx *storage.Tx) error {
		_, err := tx.Exec(t.Context(), nonsense)
		return err
	}); err == nil {
		t.Error("nonsense was executed")
	}
	if err := s.Update(t.Context(), func(tx *storage.Tx) error {
		return tx.QueryRow(t.Context(), nonsense).Scan(new(int))
	}); err == nil || storage.IsNotFound(err) {
		t.Errorf("nonsense scanned with %v in a transaction", err)
	}
	if err := s.QueryRow(t.Context(), `SELECT id FROM notes`).Scan(new(int)); !storage.IsNotFound(err) {
		t.Errorf("no row scanned with %v, want not found", err)
	}
}

func TestWritersGoOneAfterTheOther(t *testing.T) {
	const writers, rounds = 6, 20
	s := open(t, sqliteIn)
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for range rounds {
				if err := s.Update(t.Context(), func(tx *storage.Tx) error {
					var left int
					if err := tx.QueryRow(t.Context(), readLeft).Scan(&left); err != nil {
						return err
					}
					_, err := tx.Exec(t.Context(), writeLeft, left+1)
					return err
				}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if left := number(t, s, readLeft); left != writers*rounds {
		t.Errorf("%d increments are left of %d", left, writers*rounds)
	}
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
