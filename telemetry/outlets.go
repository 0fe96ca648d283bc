package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/sdk/resource"
)

// stopper is what has to be stopped in its time.
type stopper interface{ Shutdown(context.Context) error }

// addOutlets makes the tracer provider and the logger, and what takes spans and log records from them.
func (t *Telemetry) addOutlets(resource *resource.Resource) {
	local := newLocalHandler(t.config)
	spans, records := slices.Clone(t.config.SpanProcessors), slices.Clone(t.config.LogProcessors)
	for _, e := range t.config.SpanExporters {
		o := newSpanOutlet(e, t.losses.spans, slog.New(local))
		spans, t.outlets = append(spans, o), append(t.outlets, o)
	}
	for _, e := range t.config.LogExporters {
		o := newLogOutlet(e, t.losses.records, slog.New(local))
		records, t.outlets = append(records, o), append(t.outlets, o)
	}
	sampler, wrong := samplerFromEnvironment()
	t.tracers = newTracerProvider(resource, sampler, spans)
	t.spans = spanSource(t.tracers, spans)
	t.records = newLoggerProvider(resource, records)
	t.logger = slog.New(local)
	if len(records) > 0 {
		t.logger = slog.New(slog.NewMultiHandler(local, newExportHandler(t.records, t.config.LogLevel)))
	}
	if wrong != nil {
		t.logger.Warn("a sampler's setting is ignored", "error", wrong)
	}
}

// stopSideBySide lets no outlet wait for another one's collector.
func stopSideBySide(ctx context.Context, all []stopper) error {
	errs := make([]error, len(all))
	var group sync.WaitGroup
	for i, s := range all {
		group.Go(func() { errs[i] = s.Shutdown(ctx) })
	}
	group.Wait()
	return errors.Join(errs...)
}
