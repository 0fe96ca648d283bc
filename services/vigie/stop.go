package main

import (
	"context"
	"errors"
	"sync"

	"github.com/vigie-dev/vigie/services/internal/service"
)

// stopAll stops services side by side, within the time for a graceful stop.
func stopAll(ctx context.Context, services ...*service.Service) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	errs := make([]error, len(services))
	var group sync.WaitGroup
	for i, s := range services {
		group.Go(func() { errs[i] = s.Stop(ctx) })
	}
	group.Wait()
	return errors.Join(errs...)
}
