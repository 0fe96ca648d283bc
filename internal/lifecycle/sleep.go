package lifecycle

import (
	"context"
	"time"
)

// Sleep waits for d, or returns ctx's error as soon as ctx ends: a wait that
// does not hold up a stop.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
