package lifecycle_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
)

func TestSleepEndsWithItsTimeOrItsContext(t *testing.T) {
	const d = 20 * time.Millisecond
	start := time.Now()
	if err := lifecycle.Sleep(t.Context(), d); err != nil || time.Since(start) < d {
		t.Errorf("slept %v, %v", time.Since(start), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(d, cancel)
	if err := lifecycle.Sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("a sleep whose context ended: %v", err)
	}
}
