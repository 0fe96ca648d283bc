package service

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/telemetry"
)

// readyMetric is the name of the metric that says whether a service can do its work.
const readyMetric = "service_ready"

// Common returns the metrics that every service has beside [telemetry.Common].
func Common() telemetry.Catalogue {
	return append(telemetry.Catalogue{{
		Name: readyMetric, Kind: telemetry.Gauge,
		Help: "1 while the service can do its work, as /health/ready says, else 0.",
	}}, httpapi.Catalogue()...)
}

// readyInterval is how old the metric service_ready may be.
const readyInterval = 2 * time.Second

// readiness is the metric service_ready. A scrape reads what the last look
// found and asks nobody: it must not hang when storage does.
type readiness struct {
	check func(context.Context) error
	ready atomic.Int64
}

// newReadiness registers the metric, which is 0 until the first look.
func newReadiness(instruments *telemetry.Instruments, check func(context.Context) error) (*readiness, error) {
	r := &readiness{check: check}
	_, err := instruments.Int64ObservableGauge(readyMetric, func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(r.ready.Load())
		return nil
	})
	return r, err
}

// run looks at once and then in intervals, until ctx ends. A service that
// stops is not ready.
func (r *readiness) run(ctx context.Context) error {
	defer r.ready.Store(0)
	ticker := time.NewTicker(readyInterval)
	defer ticker.Stop()
	for {
		_ = r.look(ctx) // told by the metric
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// look asks now, and has the metric say the same.
func (r *readiness) look(ctx context.Context) error {
	err := r.check(ctx)
	var ready int64
	if err == nil {
		ready = 1
	}
	r.ready.Store(ready)
	return err
}
