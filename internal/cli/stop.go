package cli

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/service"
)

// stopTimeout bounds a graceful stop; a supervisor's own limit is usually 10 s.
const stopTimeout = 9 * time.Second

// stopContext is the context of a graceful stop, whatever ended the run.
func stopContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
}

// stopAll stops services side by side, within ctx.
func stopAll(ctx context.Context, services ...*service.Service) error {
	errs := make([]error, len(services))
	var group sync.WaitGroup
	for i, s := range services {
		group.Go(func() { errs[i] = s.Stop(ctx) })
	}
	group.Wait()
	return errors.Join(errs...)
}
