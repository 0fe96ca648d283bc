package service

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/telemetry"
)

// readyInterval is how old the metrics of readiness may be.
const readyInterval = 2 * time.Second

// readiness is the metrics that say whether a service can do its work, and which part
// of it cannot. A scrape reads what the last look found and calls nobody: it must not
// hang when storage does.
type readiness struct {
	check func(context.Context) ([]httpapi.PartState, error)
	ready atomic.Int64
	parts atomic.Pointer[[]httpapi.PartState]
}

// newReadiness registers the metrics: 0, and no part, until the first look.
func newReadiness(instruments *telemetry.Instruments, check func(context.Context) ([]httpapi.PartState, error)) (*readiness, error) {
	r := &readiness{check: check}
	_, err := instruments.Int64ObservableGauge(readyMetric, func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(r.ready.Load())
		return nil
	})
	if err != nil {
		return nil, err
	}
	_, err = instruments.Int64ObservableGauge(partsMetric, func(_ context.Context, o metric.Int64Observer) error {
		if parts := r.parts.Load(); parts != nil {
			for _, p := range *parts {
				o.Observe(oneIf(p.Err == nil), metric.WithAttributes(attribute.String("part", p.Name)))
			}
		}
		return nil
	})
	return r, err
}

func oneIf(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

// run looks at once and then in intervals, until ctx ends, or until the storage
// is found damaged, which no waiting fixes. A service that stops is not ready.
func (r *readiness) run(ctx context.Context) error {
	defer r.ready.Store(0)
	look := func(ctx context.Context) error {
		if err := r.look(ctx); errors.Is(err, storage.ErrDamaged) {
			return err
		}
		return nil
	}
	if err := look(ctx); err != nil {
		return err
	}
	return lifecycle.Every(ctx, readyInterval, look)
}

// look checks now, and sets the metrics to the same. What a stop interrupts says
// nothing of the parts.
func (r *readiness) look(ctx context.Context) error {
	parts, err := r.check(ctx)
	r.ready.Store(oneIf(err == nil))
	if ctx.Err() == nil {
		r.parts.Store(&parts)
	}
	return err
}
