package storage_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

func TestPositionsBelongToTheirPartition(t *testing.T) {
	onEach(t, testPositionsBelongToTheirPartition)
}

func testPositionsBelongToTheirPartition(t *testing.T, empty maker) {
	s := open(t, empty)
	other := record.Partition{Topic: orders().Topic, ID: orders().ID + 1}
	namesake := record.Partition{Topic: "payments.authorized", ID: orders().ID}
	if _, known := position(t, s, orders()); known {
		t.Error("a partition that nobody read has a position")
	}
	if err := errors.Join(s.StartAt(t.Context(), orders(), 3), s.StartAt(t.Context(), other, 30)); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(ctx context.Context, tx *storage.Tx) error { return tx.Advance(ctx, orders(), 3, 9) })
	for p, want := range map[record.Partition]int64{orders(): 9, other: 30} {
		if next, known := position(t, s, p); next != want || !known {
			t.Errorf("%s stands at %d, %v; want %d", p, next, known, want)
		}
	}
	if _, known := position(t, s, namesake); known {
		t.Errorf("%s has a position without having been read", namesake)
	}
}

func TestStartAtDoesNotOverwrite(t *testing.T) { onEach(t, testStartAtDoesNotOverwrite) }

func testStartAtDoesNotOverwrite(t *testing.T, empty maker) {
	s := open(t, empty)
	for _, start := range []int64{0, 5, 0} {
		if err := s.StartAt(t.Context(), orders(), start); err != nil {
			t.Fatal(err)
		}
		if next, known := position(t, s, orders()); next != 0 || !known {
			t.Errorf("after StartAt(%d) at %d, %v; want 0", start, next, known)
		}
	}
}

func TestAdvanceComparesAndSets(t *testing.T) { onEach(t, testAdvanceComparesAndSets) }

func testAdvanceComparesAndSets(t *testing.T, empty maker) {
	tests := []struct {
		name     string
		p        record.Partition
		from, to int64
		want     error
		next     int64
	}{
		{"from where it stands", orders(), 10, 15, nil, 15},
		{"nothing to skip", orders(), 10, 10, nil, 10},
		{"others went on", orders(), 9, 12, storage.ErrFenced, 10},
		{"others went back", orders(), 11, 12, storage.ErrFenced, 10},
		{"never started", record.Partition{Topic: "unread", ID: 0}, 0, 1, storage.ErrFenced, 10},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := open(t, empty)
			if err := s.StartAt(t.Context(), orders(), 10); err != nil {
				t.Fatal(err)
			}
			err := s.Update(t.Context(), func(tx *storage.Tx) error { return tx.Advance(t.Context(), test.p, test.from, test.to) })
			if !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if next, _ := position(t, s, orders()); next != test.next {
				t.Errorf("stands at %d, want %d", next, test.next)
			}
		})
	}
}

func TestOneOfSeveralOwnersAdvances(t *testing.T) { onEach(t, testOneOfSeveralOwnersAdvances) }

func testOneOfSeveralOwnersAdvances(t *testing.T, empty maker) {
	s := open(t, empty)
	if err := s.StartAt(t.Context(), orders(), 0); err != nil {
		t.Fatal(err)
	}
	var won, fenced atomic.Int32
	var owners sync.WaitGroup
	for owner := range 8 {
		owners.Go(func() {
			err := s.Update(t.Context(), func(tx *storage.Tx) error {
				if err := note(t.Context(), tx, owner, "mine"); err != nil {
					return err
				}
				return tx.Advance(t.Context(), orders(), 0, int64(owner)+1)
			})
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, storage.ErrFenced):
				fenced.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	owners.Wait()
	if won.Load() != 1 || fenced.Load() != 7 {
		t.Errorf("%d advanced and %d were fenced, want 1 and 7", won.Load(), fenced.Load())
	}
	if n := number(t, s, countNotes); n != 1 {
		t.Errorf("%d notes are stored, want the winner's alone", n)
	}
}
