package storage_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vigie-dev/vigie/internal/storage"
)

// crowd has changes wait for one that is under way, and returns what became of each.
// The one under way leaves note 0, the others those of their numbers.
func crowd(t *testing.T, s *storage.Store, changes map[int]func(context.Context, *storage.Tx) error) (errs map[int]error) {
	t.Helper()
	first, release := make(chan struct{}), make(chan struct{})
	ended := make(chan error)
	go func() {
		ended <- s.Update(t.Context(), func(tx *storage.Tx) error {
			close(first)
			<-release
			return note(t.Context(), tx, 0, "under way")
		})
	}()
	<-first
	type outcome struct {
		id  int
		err error
	}
	outcomes := make(chan outcome)
	for id, change := range changes {
		go func() {
			o := outcome{id: id, err: errors.New("panicked")}
			defer func() { _ = recover(); outcomes <- o }()
			o.err = s.Update(t.Context(), func(tx *storage.Tx) error { return change(t.Context(), tx) })
		}()
	}
	synctest.Wait() // all are there
	close(release)
	if err := <-ended; err != nil {
		t.Errorf("the one under way: %v", err)
	}
	errs = map[int]error{}
	for range changes {
		o := <-outcomes
		errs[o.id] = o.err
	}
	return errs
}

// leave returns a change that leaves a note.
func leave(id int) func(context.Context, *storage.Tx) error {
	return func(ctx context.Context, tx *storage.Tx) error { return note(ctx, tx, id, "left") }
}

func notesIn(t *testing.T, s *storage.Store) (n int) {
	t.Helper()
	if err := s.QueryRow(t.Context(), countNotes).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestChangesThatWaitShareATransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, sqliteIn)
		before := s.Commits()
		for id, err := range crowd(t, s, map[int]func(context.Context, *storage.Tx) error{1: leave(1), 2: leave(2), 3: leave(3)}) {
			if err != nil {
				t.Errorf("change %d: %v", id, err)
			}
		}
		if n, commits := notesIn(t, s), s.Commits()-before; n != 4 || commits != 2 {
			t.Errorf("%d notes in %d commits, want 4 in 2: one alone and three together", n, commits)
		}
	})
}

// What is wrong with one change is told to its caller, and stops no other.
func TestAChangeThatFailsIsLeftOut(t *testing.T) {
	broken := errors.New("broken")
	for name, fail := range map[string]func(context.Context, *storage.Tx) error{
		"error": func(ctx context.Context, tx *storage.Tx) error { return errors.Join(note(ctx, tx, 2, "half"), broken) },
		"fenced": func(ctx context.Context, tx *storage.Tx) error {
			return errors.Join(tx.Advance(ctx, orders(), 7, 8, time.Time{}), broken)
		},
		"refused by the database": func(ctx context.Context, tx *storage.Tx) error { return errors.Join(note(ctx, tx, 0, "again"), broken) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, sqliteIn)
				errs := crowd(t, s, map[int]func(context.Context, *storage.Tx) error{1: leave(1), 2: fail, 3: leave(3)})
				if errs[1] != nil || errs[3] != nil || !errors.Is(errs[2], broken) {
					t.Errorf("errors %v, want one alone", errs)
				}
				if n := notesIn(t, s); n != 3 {
					t.Errorf("%d notes, want 3", n)
				}
			})
		})
	}
}

// A panic ends one caller's work, of those that share a transaction; the others are
// told that theirs is not stored, and the next is.
func TestAPanicHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, sqliteIn)
		errs := crowd(t, s, map[int]func(context.Context, *storage.Tx) error{
			1: leave(1), 2: func(context.Context, *storage.Tx) error { panic("broken") }, 3: leave(3),
		})
		stored := 1
		for _, id := range []int{1, 3} {
			if errs[id] == nil {
				stored++
			}
		}
		if n := notesIn(t, s); errs[2] == nil || n != stored {
			t.Errorf("errors %v, %d notes; want one for each change without an error", errs, n)
		}
		update(t, s, func(ctx context.Context, tx *storage.Tx) error { return note(ctx, tx, 9, "after") })
	})
}

// Who no longer waits has stored nothing.
func TestAChangeIsWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, sqliteIn)
		first, release, ended := make(chan struct{}), make(chan struct{}), make(chan error)
		go func() {
			ended <- s.Update(t.Context(), func(*storage.Tx) error { close(first); <-release; return nil })
		}()
		<-first
		ctx, cancel := context.WithCancel(t.Context())
		withdrawn := make(chan error)
		go func() {
			withdrawn <- s.Update(ctx, func(tx *storage.Tx) error { return note(t.Context(), tx, 1, "late") })
		}()
		synctest.Wait()
		cancel()
		if err := <-withdrawn; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		close(release)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if n := notesIn(t, s); n != 0 {
			t.Errorf("%d notes", n)
		}
	})
}
