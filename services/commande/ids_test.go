package commande

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/vigie-dev/vigie/internal/storage"
)

func takeN(t *testing.T, i *ids, n int) (all []string) {
	t.Helper()
	for range n {
		id, err := i.take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, id)
	}
	return all
}

func release(t *testing.T, i *ids) {
	t.Helper()
	if err := i.release(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// next returns the number that the next block begins with.
func next(t *testing.T, s *storage.Store) (n int64) {
	t.Helper()
	if err := s.QueryRow(t.Context(), nextBlock).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// once notes ids and complains of those that come again.
type once map[string]bool

func (o once) note(t *testing.T, all ...string) {
	t.Helper()
	for _, id := range all {
		if o[id] {
			t.Errorf("%s is given twice", id)
		}
		o[id] = true
	}
}

func TestIDsGoOnOverStopsAndCrashes(t *testing.T) { onEach(t, testIDsGoOnOverStopsAndCrashes) }

func testIDsGoOnOverStopsAndCrashes(t *testing.T, empty maker) {
	url, given := empty(t), once{}
	tests := []struct {
		take  int
		clean bool
		first int // the first id of this run
	}{
		{3, true, 1},
		{0, true, 0},     // a run without an order takes nothing
		{2, true, 4},     // no gap after a clean stop
		{5, false, 6},    // a crash leaves the rest of its block
		{1, true, 1006},  // 6 + a block
		{1, false, 1007}, // the rest was given back
		{1, false, 2007},
		{blockSize, true, 3007}, // to the last id of its block
		{blockSize + 1, true, 4007},
		{1, true, 5008},
	}
	for _, test := range tests {
		s := reopen(t, url)
		i := &ids{store: s}
		all := takeN(t, i, test.take)
		given.note(t, all...)
		for n, id := range all {
			if want := fmt.Sprintf("order-%d", test.first+n); id != want {
				t.Fatalf("got %s, want %s", id, want)
			}
		}
		if test.clean {
			release(t, i)
			release(t, i) // again, to no effect
		}
		closed(t, s)
	}
}

func TestConcurrentTakesNeverRepeat(t *testing.T) { onEach(t, testConcurrentTakesNeverRepeat) }

func testConcurrentTakesNeverRepeat(t *testing.T, empty maker) {
	const takers, each = 16, 150 // more than two blocks
	s := reopen(t, empty(t))
	defer closed(t, s)
	i := &ids{store: s}
	all := make(chan string, takers*each)
	var group sync.WaitGroup
	for range takers {
		group.Go(func() {
			for range each {
				id, err := i.take(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				all <- id
			}
		})
	}
	group.Wait()
	close(all)
	given := once{}
	for id := range all {
		given.note(t, id)
	}
	for n := range takers * each {
		if !given[fmt.Sprintf("order-%d", n+1)] {
			t.Errorf("order-%d is left out", n+1)
		}
	}
}

func TestAllocatorsOfOneStoreNeverOverlap(t *testing.T) {
	onEach(t, testAllocatorsOfOneStoreNeverOverlap)
}

func testAllocatorsOfOneStoreNeverOverlap(t *testing.T, empty maker) {
	s := reopen(t, empty(t))
	defer closed(t, s)
	a, b, c := &ids{store: s}, &ids{store: s}, &ids{store: s}
	given := once{}
	given.note(t, takeN(t, a, 5)...) // a has 1 to 1000
	given.note(t, takeN(t, b, 5)...) // b has 1001 to 2000
	release(t, a)                    // b's block is later: a's rest is lost, b's is not touched
	if n := next(t, s); n != 2001 {
		t.Errorf("after a's release the next block begins at %d, want 2001", n)
	}
	given.note(t, takeN(t, c, 5)...) // c has 2001 to 3000
	given.note(t, takeN(t, b, 995)...)
	given.note(t, takeN(t, b, 5)...) // b has 3001 to 4000
	release(t, c)
	if n := next(t, s); n != 4001 {
		t.Errorf("after c's release the next block begins at %d, want 4001", n)
	}
	release(t, b)
	if n := next(t, s); n != 3006 {
		t.Errorf("after the latest block's release the next begins at %d, want 3006", n)
	}
	for _, i := range []*ids{a, b, c} { // each goes on as if started again
		given.note(t, takeN(t, i, blockSize+1)...)
	}
}

func TestABlockThatCannotBeTakenGivesNoID(t *testing.T) {
	onEach(t, testABlockThatCannotBeTakenGivesNoID)
}

func testABlockThatCannotBeTakenGivesNoID(t *testing.T, empty maker) {
	s := reopen(t, empty(t))
	defer closed(t, s)
	i := &ids{store: s}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if id, err := i.take(over); err == nil {
		t.Errorf("got %s without storage", id)
	}
	if all := takeN(t, i, 1); all[0] != "order-1" {
		t.Errorf("then got %s, want order-1", all[0])
	}
	if id, err := i.take(over); err != nil || id != "order-2" { // in hand: costs no storage
		t.Errorf("then got %s, %v; want order-2", id, err)
	}
	if err := i.release(over); err == nil {
		t.Error("released without storage")
	}
	release(t, i)
	if n := next(t, s); n != 3 {
		t.Errorf("the next block begins at %d, want 3", n)
	}
}

func TestSkippedIDsNeverGoBack(t *testing.T) { onEach(t, testSkippedIDsNeverGoBack) }

func testSkippedIDsNeverGoBack(t *testing.T, empty maker) {
	s := reopen(t, empty(t))
	defer closed(t, s)
	for _, step := range []struct{ skip, want int64 }{{1, 1}, {50, 50}, {20, 50}} {
		if err := s.Update(t.Context(), func(tx *storage.Tx) error {
			_, err := tx.Exec(t.Context(), skipIDs, step.skip)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if n := next(t, s); n != step.want {
			t.Errorf("skipped to %d: ids go on at %d, want %d", step.skip, n, step.want)
		}
	}
	if all := takeN(t, &ids{store: s}, 1); all[0] != "order-50" {
		t.Errorf("got %s, want order-50", all[0])
	}
}
