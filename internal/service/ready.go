package service

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/telemetry"
)

// The metrics that say whether a service can do its work, and which part of it cannot.
const (
	readyMetric = "service_ready"
	partsMetric = "service_part_ready"
)

// readyInterval is how old they may be.
const readyInterval = 2 * time.Second

// Common returns the metrics that every service has beside [catalogue.Common].
func Common() telemetry.Catalogue {
	return slices.Concat(telemetry.Catalogue{{
		Name: readyMetric, Kind: telemetry.Gauge,
		Help: "1 while the service can do its work, as /health/ready says, else 0.",
	}, {
		Name: partsMetric, Kind: telemetry.Gauge, Labels: []string{"part"},
		Help:  "1 while this part of what the service stands on is well, else 0: the first that is not is the reason of /health/ready.",
		Bound: "kafka, storage, and what else the service needs: consumer, ledger, writes to kafka", MaxSeries: 8,
	}}, reloadCatalogue(), httpapi.Catalogue(), pruneCatalogue(), orderLogCatalogue())
}

// readiness is those metrics. A scrape reads what the last look
// found and calls nobody: it must not hang when storage does.
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
