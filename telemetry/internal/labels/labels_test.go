package labels_test

import (
	"strconv"
	"sync"
	"testing"

	"github.com/vigie-dev/vigie/telemetry/internal/labels"
)

// upTo admits the first n keys, and these for ever.
func upTo(n int) func(string) bool {
	seen := map[string]bool{}
	var mu sync.Mutex
	return func(key string) bool {
		mu.Lock()
		defer mu.Unlock()
		if !seen[key] && len(seen) >= n {
			return false
		}
		seen[key] = true
		return true
	}
}

func TestAValueIsMadeOncePerKey(t *testing.T) {
	built := map[string]int{}
	cache := labels.NewCache(upTo(2), func(key string) string { built[key]++; return "<" + key + ">" })
	for range 3 {
		for key, want := range map[string]string{"a": "<a>", "b": "<b>"} {
			if got, ok := cache.Get(key); !ok || got != want {
				t.Errorf("Get(%q) = %q, %v", key, got, ok)
			}
		}
	}
	if got, ok := cache.Get("c"); ok || got != "" {
		t.Errorf("a key without room has %q, %v", got, ok)
	}
	for _, key := range []string{"c", "d", "c"} {
		if got := cache.GetOr(key, "other"); got != "<other>" {
			t.Errorf("GetOr(%q) = %q, want what is shared", key, got)
		}
	}
	if got := cache.GetOr("a", "other"); got != "<a>" {
		t.Errorf("GetOr of a key with room = %q", got)
	}
	if len(built) != 3 || built["a"] != 1 || built["b"] != 1 || built["other"] != 1 {
		t.Errorf("made %v, want a, b and other once each", built)
	}
}

func TestAllCallersGetOneValue(t *testing.T) {
	const keys, callers = 50, 8
	cache := labels.NewCache(upTo(keys/2), func(string) *int { return new(int) })
	got := make([][]*int, callers)
	var group sync.WaitGroup
	for i := range callers {
		got[i] = make([]*int, keys)
		group.Go(func() {
			for n := range keys {
				got[i][n] = cache.GetOr(strconv.Itoa(n), "other")
			}
		})
	}
	group.Wait()
	distinct := map[*int]bool{}
	for n := range keys {
		distinct[got[0][n]] = true
		for i := range callers {
			if got[i][n] != got[0][n] {
				t.Fatalf("key %d has two values", n)
			}
		}
	}
	if len(distinct) != keys/2+1 {
		t.Errorf("%d values, want %d and the shared one", len(distinct), keys/2)
	}
}
