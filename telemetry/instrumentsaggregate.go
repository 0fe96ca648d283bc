package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/metric"
)

// seconds is the unit of times.
const seconds = "s"

// aggregatedHistogram has no exemplars: it measures outside any trace.
type aggregatedHistogram struct{ metric.Float64Histogram }

// Record implements [metric.Float64Histogram].
func (h aggregatedHistogram) Record(_ context.Context, value float64, options ...metric.RecordOption) {
	h.Float64Histogram.Record(context.Background(), value, options...)
}

// aggregatedCounter is [aggregatedHistogram] for counters.
type aggregatedCounter struct{ metric.Float64Counter }

// Add implements [metric.Float64Counter].
func (c aggregatedCounter) Add(_ context.Context, value float64, options ...metric.AddOption) {
	c.Float64Counter.Add(context.Background(), value, options...)
}
