//go:build integration

package suivi

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/storage"
)

// Two instances learn of the same orders at once, each from partitions of its
// own: every view has what both have read, and every order counts once.
func TestInstancesJoinTheirFacts(t *testing.T) {
	const orders, rounds = 40, 5
	for round := range rounds {
		url := postgres.Database(t)
		a, b := trackerAt(t, url), trackerAt(t, url)
		want := map[string]view{}
		said := [3][]fact{} // by partition: orders, payments, dead letters
		for n := range orders {
			id := fmt.Sprintf("order-%d", n)
			facts := []fact{created(id, 0), authorized(id, 2), failed(id, 1, n)}
			for i, f := range facts {
				said[i] = append(said[i], f)
				want[id] = project(want[id], f)
			}
		}
		var group sync.WaitGroup
		for i, facts := range said {
			rand.Shuffle(len(facts), func(i, j int) { facts[i], facts[j] = facts[j], facts[i] })
			group.Go(func() {
				for batch := range slices.Chunk(facts, 9) {
					if err := storeFacts(t, []*tracker{a, b}[i%2], batch); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		for id, v := range want {
			if diff := cmp.Diff(v, stored(t, b, id)); diff != "" {
				t.Fatalf("round %d, %s (-want +got):\n%s", round, id, diff)
			}
		}
		if n := total(t, a); n != orders {
			t.Errorf("round %d: %d orders are counted, want %d", round, n, orders)
		}
	}
}

func storeFacts(t *testing.T, tr *tracker, facts []fact) error {
	decided := make([]delivery.Decided[*fact], len(facts))
	for i := range facts {
		decided[i] = delivery.Decided[*fact]{Change: &facts[i]}
	}
	return tr.store.Update(t.Context(), func(tx *storage.Tx) error { return tr.Store(t.Context(), tx, decided) })
}
