package telemetry

import (
	"context"
	"log/slog"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// spanOutlet is the span processor that sends spans to an exporter in the background. OnEnd never waits: a span
// that finds the queue full is dropped.
type spanOutlet struct {
	*outlet
	batches sdktrace.SpanProcessor
}

func newSpanOutlet(exporter sdktrace.SpanExporter, losses lossCounter, log *slog.Logger) *spanOutlet {
	queue, batch := batchSizes("OTEL_BSP_")
	o := newOutlet("traces", queue, losses, log)
	return &spanOutlet{o, sdktrace.NewBatchSpanProcessor(spanSender{o, exporter},
		sdktrace.WithMaxQueueSize(queue), sdktrace.WithMaxExportBatchSize(batch))}
}

// OnStart implements [sdktrace.SpanProcessor].
func (s *spanOutlet) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements [sdktrace.SpanProcessor].
func (s *spanOutlet) OnEnd(span sdktrace.ReadOnlySpan) {
	if span.SpanContext().IsSampled() && s.admit() {
		s.batches.OnEnd(span)
	}
}

// ForceFlush implements [sdktrace.SpanProcessor].
func (s *spanOutlet) ForceFlush(ctx context.Context) error { return s.batches.ForceFlush(ctx) }

// Shutdown implements [sdktrace.SpanProcessor].
func (s *spanOutlet) Shutdown(ctx context.Context) error { return s.shutdown(ctx, s.batches.Shutdown) }

// spanSender is the exporter as the batch processor sees it: one that never fails, since the processor would hand
// its errors to the global handler.
type spanSender struct {
	outlet   *outlet
	exporter sdktrace.SpanExporter
}

// ExportSpans implements [sdktrace.SpanExporter].
func (s spanSender) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	s.outlet.export(ctx, len(spans), func(ctx context.Context) error {
		return s.exporter.ExportSpans(ctx, encodable(spans))
	})
	return nil
}

// Shutdown implements [sdktrace.SpanExporter]. It is the last that the processor's worker does.
func (s spanSender) Shutdown(ctx context.Context) error {
	defer close(s.outlet.ended)
	return s.exporter.Shutdown(ctx)
}
