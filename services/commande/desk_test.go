package commande

import (
	"context"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/internal/testenv/memlog"
)

// A key that was used first while the clock was behind is kept for its day all the same,
// once the clock is right and newer keys have come.
func TestAKeyOutlivesAClockThatWasBehind(t *testing.T) {
	began := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	now := storage.Instant{Wall: began}
	desk, err := OpenDesk(t.Context(), "sqlite:"+t.TempDir(), memlog.New(time.Now), func() storage.Instant { return now })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { closed(t, desk.store) }()
	place := func(key string) string {
		t.Helper()
		event, err := desk.Place(t.Context(), "anna", key, banking.OrderRequest{UserID: "u", Amount: 1}, func(context.Context, banking.OrderCreated) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		return event.OrderID
	}
	prune := func() {
		t.Helper()
		times, err := desk.Pruning().Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := desk.Pruning().Round(t.Context(), times); err != nil {
			t.Fatal(err)
		}
	}
	now.Wall = began.Add(-91 * 24 * time.Hour)
	prune()
	first := place("k")
	now.Wall = began
	place("another")
	for range 3 { // the first sees that a clock was set
		prune()
	}
	if again := place("k"); again != first {
		t.Errorf("the key stands for %s, and stood for %s", again, first)
	}
}
