//go:build integration

package commande

import (
	"sync"
	"testing"
)

// Several instances give ids at once and come and go: none is given twice, the
// first is order-1, and what is given back is given again.
func TestInstancesNeverGiveAnIDTwice(t *testing.T) {
	const instances, rounds, each = 3, 4, 1500 // more than a block
	url := postgres.Database(t)
	given, mu := once{}, sync.Mutex{}
	var group sync.WaitGroup
	for range instances {
		group.Go(func() {
			for range rounds {
				s := reopen(t, url)
				i := &ids{store: s}
				for range each {
					id, err := i.take(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					given.note(t, id)
					mu.Unlock()
				}
				if err := i.release(t.Context()); err != nil {
					t.Error(err)
				}
				closed(t, s)
			}
		})
	}
	group.Wait()
	if !given["order-1"] {
		t.Error("order-1 was not given")
	}
	s := reopen(t, url)
	defer closed(t, s)
	if id, err := (&ids{store: s}).take(t.Context()); err != nil || given[id] {
		t.Errorf("then got %s, %v", id, err)
	}
}
