package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/vigie-dev/vigie/telemetry/internal/labels"
)

// addOutlets returns what sends spans and log records to each of the configuration's exporters. Losses are
// logged to log: it must not lead back into an outlet.
func (t *Telemetry) addOutlets(log *slog.Logger) (spans []sdktrace.SpanProcessor, records []sdklog.Processor) {
	for _, e := range t.config.SpanExporters {
		o := newSpanOutlet(e, t.losses.spans, log)
		spans, t.outlets = append(spans, o), append(t.outlets, o)
	}
	for _, e := range t.config.LogExporters {
		o := newLogOutlet(e, t.losses.records, log)
		records, t.outlets = append(records, o), append(t.outlets, o)
	}
	return spans, records
}

const (
	// reportInterval is the least time between two log lines about one exporter.
	reportInterval = time.Minute
	// maxReportedError bounds, in bytes, what is logged of an error, which can hold a collector's whole answer.
	maxReportedError = 500
	// The SDK's own defaults, for OTEL_BSP_* and OTEL_BLRP_*.
	defaultQueue = 2048
	defaultBatch = 512
)

// errFlushTime ends an export that would outlast a shutdown.
var errFlushTime = errors.New("no time left to export")

// outlet stands around one of the SDK's batch processors and its exporter. It bounds what waits, counts what is
// lost, logs it at most once a minute, and ends exports that would outlast a shutdown. The processors do the
// batching, but report losses only to the global meter provider and error handler, which services of one process
// would share, and their shutdown leaves a goroutine behind where the exporter hangs.
type outlet struct {
	signal string
	limit  int64
	losses lossCounter
	log    *slog.Logger // never one that leads back into an outlet

	waiting    atomic.Int64 // admitted and not yet exported; never more than limit
	unreported atomic.Int64 // lost since the last log line
	closing    context.Context
	abort      context.CancelCauseFunc
	ended      chan struct{} // closed once the processor's worker is done

	mu       sync.Mutex
	reported time.Time // when the last log line was written
	failure  string    // the latest error since
}

func newOutlet(signal string, limit int, losses lossCounter, log *slog.Logger) *outlet {
	o := &outlet{signal: signal, limit: int64(limit), losses: losses, log: log, ended: make(chan struct{})}
	o.closing, o.abort = context.WithCancelCause(context.Background())
	return o
}

// admit says whether there is room for one more. The limit is the capacity of the processor's own queue, so that
// the queue never overflows and every loss is counted here.
func (o *outlet) admit() bool {
	if o.waiting.Add(1) <= o.limit {
		return true
	}
	o.waiting.Add(-1)
	o.lose(1, lostQueueFull)
	return false
}

func (o *outlet) lose(n int64, reason string) {
	o.losses.add(n, reason)
	o.unreported.Add(n)
}

// export sends n items and accounts for them, whatever comes of it. It runs on the processor's worker.
func (o *outlet) export(ctx context.Context, n int, send func(context.Context) error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	unbind := context.AfterFunc(o.closing, func() { cancel(errFlushTime) })
	defer unbind()
	err := send(ctx)
	if err != nil {
		lost, reason := lossOf(err, int64(n))
		o.lose(lost, reason)
	}
	o.waiting.Add(-int64(n)) // not before the loss is counted: what neither waits nor is lost was taken
	o.report(err)
}

// report logs the error and what was lost, unless it did so less than a minute ago or shutdown will. Only the
// processor's worker comes here: who records a span or a log line never waits for a log line.
func (o *outlet) report(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.failure = labels.Cut(err.Error(), maxReportedError)
	}
	if o.closing.Err() == nil && (o.reported.IsZero() || time.Since(o.reported) >= reportInterval) {
		o.logLosses()
	}
}

// logLosses logs what was lost since the last time. It runs under the lock.
func (o *outlet) logLosses() {
	lost := o.unreported.Swap(0)
	if lost == 0 && o.failure == "" {
		return
	}
	if o.failure == "" {
		o.failure = "too much at once"
	}
	o.log.LogAttrs(context.Background(), slog.LevelWarn, "telemetry did not get out",
		slog.String("signal", o.signal), slog.Int64("lost", lost), slog.String("error", o.failure))
	o.reported, o.failure = time.Now(), ""
}

// shutdown flushes by stop, the processor's own shutdown, and returns once the processor's worker has ended. It
// keeps a tenth of the time left for that: then exports under way are cut off, and what they had counts as lost.
// A loss is logged and counted, and is no error.
func (o *outlet) shutdown(ctx context.Context, stop func(context.Context) error) error {
	flush, cancel := ctx, context.CancelFunc(func() {})
	if deadline, ok := ctx.Deadline(); ok {
		flush, cancel = context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/10))
	}
	defer cancel()
	unbind := context.AfterFunc(flush, func() { o.abort(errFlushTime) })
	defer unbind()
	err := stop(flush)
	if flush.Err() != nil {
		err = nil
	}
	select {
	case <-o.ended:
	case <-ctx.Done():
		err = fmt.Errorf("exporter of %s still runs: %w", o.signal, context.Cause(ctx))
	}
	if lost := o.waiting.Swap(0); lost > 0 {
		o.lose(lost, lostExportFailed)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.logLosses()
	return err
}

// batchSizes reads the size of a queue and of its batches from the standard variables, OTEL_BSP_MAX_QUEUE_SIZE for
// one. What is no number above 0 counts as unset; the SDK would panic over some of them.
func batchSizes(prefix string) (queue, batch int) {
	read := func(name string, fallback int) int {
		n, err := strconv.Atoi(strings.TrimSpace(os.Getenv(prefix + name)))
		if err != nil || n < 1 {
			return fallback
		}
		return n
	}
	queue = read("MAX_QUEUE_SIZE", defaultQueue)
	return queue, min(read("MAX_EXPORT_BATCH_SIZE", defaultBatch), queue)
}

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

// Values of the label reason.
const (
	lostQueueFull    = "queue_full"    // it was recorded faster than the collector takes it
	lostExportFailed = "export_failed" // the collector was away, too slow, or refused the batch with an error
	lostRejected     = "rejected"      // the collector took the rest of the batch, and not this
)

// lossCounter counts what one signal lost, by reason.
type lossCounter struct {
	counter metric.Int64Counter
	reasons map[string][]metric.AddOption
}

func newLossCounter(instruments *Instruments, name string) (lossCounter, error) {
	counter, err := instruments.Int64Counter(name)
	if err != nil {
		return lossCounter{}, err
	}
	c := lossCounter{counter: counter, reasons: map[string][]metric.AddOption{}}
	for _, reason := range []string{lostQueueFull, lostExportFailed, lostRejected} {
		c.reasons[reason] = []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(attribute.String("reason", reason)))}
		c.add(0, reason)
	}
	return c, nil
}

func (c lossCounter) add(n int64, reason string) {
	c.counter.Add(context.Background(), n, c.reasons[reason]...)
}

// lossOf says how many of n items an export's error stands for. A collector may take a part of a batch and say how
// many it rejected (OTLP, partial success); OpenTelemetry's exporters hold the number in types of their own
// internal packages, so it is read from the text. A partial success of 0 is a remark.
func lossOf(err error, n int64) (lost int64, reason string) {
	match := regexp.MustCompile(`OTLP partial success: (?s:.*) \((\d+) \w+ rejected\)`).FindStringSubmatch(err.Error())
	if match == nil {
		return n, lostExportFailed
	}
	rejected, err := strconv.ParseInt(match[1], 10, 64)
	if err != nil {
		return n, lostRejected
	}
	return min(rejected, n), lostRejected
}

// encodable returns the spans with text that is no UTF-8 repaired. Protocol buffers refuse such text, and one span
// that holds it, a record's binary key say, would cost the whole batch.
func encodable(spans []sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	out := spans
	for i, span := range spans {
		if isEncodable(span) {
			continue
		}
		if &out[0] == &spans[0] {
			out = slices.Clone(spans) // the batch is the processor's
		}
		out[i] = repairedSpan{span}
	}
	return out
}

func isEncodable(span sdktrace.ReadOnlySpan) bool {
	if !utf8.ValidString(span.Name()) || !utf8.ValidString(span.Status().Description) || !labels.ValidAttributes(span.Attributes()) {
		return false
	}
	for _, e := range span.Events() {
		if !utf8.ValidString(e.Name) || !labels.ValidAttributes(e.Attributes) {
			return false
		}
	}
	for _, l := range span.Links() {
		if !labels.ValidAttributes(l.Attributes) {
			return false
		}
	}
	return true
}

// repairedSpan is a span whose text is UTF-8.
type repairedSpan struct{ sdktrace.ReadOnlySpan }

// Name implements [sdktrace.ReadOnlySpan].
func (s repairedSpan) Name() string { return labels.Repaired(s.ReadOnlySpan.Name()) }

// Status implements [sdktrace.ReadOnlySpan].
func (s repairedSpan) Status() sdktrace.Status {
	status := s.ReadOnlySpan.Status()
	status.Description = labels.Repaired(status.Description)
	return status
}

// Attributes implements [sdktrace.ReadOnlySpan].
func (s repairedSpan) Attributes() []attribute.KeyValue {
	return repairedAll(s.ReadOnlySpan.Attributes())
}

// Events implements [sdktrace.ReadOnlySpan].
func (s repairedSpan) Events() []sdktrace.Event {
	events := slices.Clone(s.ReadOnlySpan.Events())
	for i := range events {
		events[i].Name, events[i].Attributes = labels.Repaired(events[i].Name), repairedAll(events[i].Attributes)
	}
	return events
}

// Links implements [sdktrace.ReadOnlySpan].
func (s repairedSpan) Links() []sdktrace.Link {
	links := slices.Clone(s.ReadOnlySpan.Links())
	for i := range links {
		links[i].Attributes = repairedAll(links[i].Attributes)
	}
	return links
}

func repairedAll(attrs []attribute.KeyValue) []attribute.KeyValue {
	out := make([]attribute.KeyValue, len(attrs))
	for i, a := range attrs {
		out[i] = attribute.KeyValue{Key: attribute.Key(labels.Repaired(string(a.Key))), Value: repairedValue(a.Value)}
	}
	return out
}

func repairedValue(v attribute.Value) attribute.Value {
	switch v.Type() {
	case attribute.STRING:
		return attribute.StringValue(labels.Repaired(v.AsString()))
	case attribute.STRINGSLICE:
		texts := v.AsStringSlice()
		for i := range texts {
			texts[i] = labels.Repaired(texts[i])
		}
		return attribute.StringSliceValue(texts)
	case attribute.SLICE:
		values := v.AsSlice()
		for i := range values {
			values[i] = repairedValue(values[i])
		}
		return attribute.SliceValue(values...)
	case attribute.MAP:
		return attribute.MapValue(repairedAll(v.AsMap())...)
	default:
		return v
	}
}
