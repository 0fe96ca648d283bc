package storage_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/vigie-dev/vigie/internal/storage"
)

const (
	addLeft   = `UPDATE pair SET value = value + $1 WHERE side = 'left'`
	addRight  = `UPDATE pair SET value = value + $1 WHERE side = 'right'`
	readPair  = `SELECT l.value, r.value FROM pair l, pair r WHERE l.side = 'left' AND r.side = 'right'`
	readLeft  = `SELECT value FROM pair WHERE side = 'left'`
	writeLeft = `UPDATE pair SET value = $1 WHERE side = 'left'`
)

func TestReadersSeeWholeTransactionsWhileAWriterWrites(t *testing.T) {
	onEach(t, testReadersSeeWholeTransactionsWhileAWriterWrites)
}

func testReadersSeeWholeTransactionsWhileAWriterWrites(t *testing.T, empty maker) {
	const rounds, crowd = 150, 8
	s := open(t, empty)
	ctx, stop := context.WithCancel(t.Context())
	var readers, started sync.WaitGroup
	started.Add(crowd)
	for range crowd {
		readers.Go(func() {
			started.Done()
			last := 0
			for ctx.Err() == nil {
				var left, right int
				if err := s.QueryRow(t.Context(), readPair).Scan(&left, &right); err != nil {
					t.Error(err)
					return
				}
				if left+right != 0 || left < last {
					t.Errorf("saw %d and %d after %d", left, right, last)
					return
				}
				last = left
			}
		})
	}
	started.Wait()
	for range rounds {
		update(t, s, func(ctx context.Context, tx *storage.Tx) error {
			if _, err := tx.Exec(ctx, addLeft, 1); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, addRight, -1)
			return err
		})
	}
	stop()
	readers.Wait()
	if left := number(t, s, readLeft); left != rounds {
		t.Errorf("left is %d in the end, want %d", left, rounds)
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

func TestCloseLetsATransactionEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		s := reopen(t, "sqlite:"+folder)
		goOn, done, closing := make(chan struct{}), make(chan error, 1), make(chan error, 1)
		go func() {
			done <- s.Update(t.Context(), func(tx *storage.Tx) error {
				<-goOn
				return note(t.Context(), tx, 1, "last")
			})
		}()
		synctest.Wait() // the transaction is open
		go func() { closing <- s.Close() }()
		synctest.Wait() // Close has returned, or waits
		select {
		case err := <-closing:
			t.Errorf("closed (%v) before the transaction ended", err)
			closing <- nil
		default:
		}
		close(goOn)
		if err := errors.Join(<-done, <-closing); err != nil {
			t.Error(err)
		}
		if err := s.Update(t.Context(), func(*storage.Tx) error { return nil }); err == nil {
			t.Error("a closed store was changed")
		}
		s = reopen(t, "sqlite:"+folder)
		defer closed(t, s)
		if n := number(t, s, countNotes); n != 1 {
			t.Errorf("%d notes are stored, want 1", n)
		}
	})
}
