package telemetry

import (
	"context"
	"log/slog"

	sdklog "go.opentelemetry.io/otel/sdk/log"
)

// logOutlet is the log processor that sends log records to an exporter in the background. OnEmit never waits: a
// record that finds the queue full is dropped.
type logOutlet struct {
	*outlet
	batches *sdklog.BatchProcessor
}

func newLogOutlet(exporter sdklog.Exporter, losses lossCounter, log *slog.Logger) *logOutlet {
	queue, batch := batchSizes("OTEL_BLRP_")
	o := newOutlet("logs", queue, losses, log)
	return &logOutlet{o, sdklog.NewBatchProcessor(logSender{o, exporter},
		sdklog.WithMaxQueueSize(queue), sdklog.WithExportMaxBatchSize(batch))}
}

// Enabled implements [sdklog.Processor].
func (l *logOutlet) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }

// OnEmit implements [sdklog.Processor].
func (l *logOutlet) OnEmit(ctx context.Context, record *sdklog.Record) error {
	if !l.admit() {
		return nil
	}
	return l.batches.OnEmit(ctx, record)
}

// ForceFlush implements [sdklog.Processor].
func (l *logOutlet) ForceFlush(ctx context.Context) error { return l.batches.ForceFlush(ctx) }

// Shutdown implements [sdklog.Processor].
func (l *logOutlet) Shutdown(ctx context.Context) error { return l.shutdown(ctx, l.batches.Shutdown) }

// logSender is to log records what spanSender is to spans.
type logSender struct {
	outlet   *outlet
	exporter sdklog.Exporter
}

// Export implements [sdklog.Exporter].
func (l logSender) Export(ctx context.Context, records []sdklog.Record) error {
	if len(records) > 0 {
		l.outlet.export(ctx, len(records), func(ctx context.Context) error { return l.exporter.Export(ctx, records) })
	}
	return nil
}

// ForceFlush implements [sdklog.Exporter].
func (l logSender) ForceFlush(ctx context.Context) error { return l.exporter.ForceFlush(ctx) }

// Shutdown implements [sdklog.Exporter]. It is the last that the processor's worker does.
func (l logSender) Shutdown(ctx context.Context) error {
	defer close(l.outlet.ended)
	return l.exporter.Shutdown(ctx)
}
