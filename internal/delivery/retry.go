package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/storage"
)

// errSessionOver ends a retry: the partition is no longer ours to wait for.
var errSessionOver = errors.New("the session is over")

// retryBackoff is for surroundings that are away: exponential with jitter, so
// that those who wait do not all come back at once.
func retryBackoff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 100 * time.Millisecond
	b.MaxInterval = 5 * time.Second
	return b
}

// retry does work until it succeeds, until it finds that another owner has
// the partition, or until the session is over.
func (l *Loop[State, Change]) retry(session context.Context, what string, work func() error) error {
	wait := retryBackoff()
	for {
		err := work()
		if err == nil || errors.Is(err, storage.ErrFenced) {
			return err
		}
		if session.Err() != nil {
			return fmt.Errorf("%s: %w: %w", what, errSessionOver, err)
		}
		delay := wait.NextBackOff()
		l.deps.Log.WarnContext(session, "waiting to try again", "operation", what, "delay", delay, "error", err)
		if lifecycle.Sleep(session, delay) != nil {
			return fmt.Errorf("%s: %w: %w", what, errSessionOver, err)
		}
	}
}

// withGrace returns a context that ends a grace after its parent, so that
// work under way can finish when a session ends.
func withGrace(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	stop := context.AfterFunc(parent, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() { stop(); cancel() }
}
