package otelkafka

import (
	"context"
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// BatchSpan is the span of work that is done for many records at once.
type BatchSpan struct {
	inst       *Instrumentation
	span       trace.Span
	name       string
	records    []trace.SpanContext
	attributes []attribute.KeyValue
	start      time.Time
}

// StartBatch starts an INTERNAL span for work that is done for many records at once (a storage transaction, a
// publish, a commit), and links the records' spans that are sampled. [BatchSpan.End] adds a span to each of those
// records' traces too. Give only the records that the work is done for; invalid span contexts count, and are left out
// otherwise.
//
// Where ctx holds no span, the batch's is the root of a trace of its own: work for many traces is a part of none. It is
// sampled if one of its records is. The SDK keeps at most 128 links by default (OTEL_SPAN_LINK_COUNT_LIMIT); the
// attribute messaging.batch.message_count has the true number.
func (i *Instrumentation) StartBatch(
	ctx context.Context, name string, records []trace.SpanContext, attributes ...attribute.KeyValue,
) (context.Context, *BatchSpan) {
	b := &BatchSpan{inst: i, name: name, records: records, attributes: attributes, start: time.Now()}
	ctx, b.span = i.tracer.Start(ctx, name,
		trace.WithTimestamp(b.start), trace.WithLinks(linksTo(records)...))
	if b.span.IsRecording() {
		b.span.SetAttributes(batchAttributes(len(records))...)
		b.span.SetAttributes(attributes...)
	}
	return ctx, b
}

// End ends the span; an error fails it, by its kind as in [ProcessSpan.End]. Then, if the span is recorded, each record
// that is sampled gets a span of the same name, time, status and attributes in its own trace, a child of the record's
// span with a link to the batch's: a record's trace says when its batch was stored, or published, without a search for
// links. A record that is not sampled costs nothing.
func (b *BatchSpan) End(err error) {
	end := time.Now()
	recorded := b.span.IsRecording()
	if err != nil {
		fail(b.span, err)
	}
	b.span.End(trace.WithTimestamp(end))
	if !recorded {
		return
	}
	options := []trace.SpanStartOption{
		trace.WithTimestamp(b.start),
		trace.WithLinks(trace.Link{SpanContext: b.span.SpanContext()}),
		trace.WithAttributes(semconv.MessagingSystemKafka),
		trace.WithAttributes(b.attributes...),
	}
	for _, record := range b.records {
		if record.IsValid() && record.IsSampled() {
			b.inst.echo(record, b.name, options, end, err)
		}
	}
}

// SpanContext identifies the batch's own span.
func (b *BatchSpan) SpanContext() trace.SpanContext { return b.span.SpanContext() }

// echo makes the batch's span in one record's trace.
func (i *Instrumentation) echo(record trace.SpanContext, name string, options []trace.SpanStartOption, end time.Time, err error) {
	_, span := i.tracer.Start(trace.ContextWithSpanContext(context.Background(), record), name, options...)
	if err != nil {
		fail(span, err)
	}
	span.End(trace.WithTimestamp(end))
}

// linksTo links the spans that are sampled or, where none is, the first that is valid: enough for a sampler to follow.
// A link to a span that was not kept leads nowhere, and takes the place of one that was.
func linksTo(spans []trace.SpanContext) []trace.Link {
	var links []trace.Link
	var other trace.SpanContext
	for _, span := range spans {
		switch {
		case !span.IsValid():
		case span.IsSampled():
			if links == nil {
				links = make([]trace.Link, 0, len(spans))
			}
			links = append(links, trace.Link{SpanContext: span})
		case !other.IsValid():
			other = span
		}
	}
	if links == nil && other.IsValid() {
		links = []trace.Link{{SpanContext: other}}
	}
	return links
}

// Batch is records of one partition in the hands of a loop over [Instrumentation.Batches].
type Batch struct {
	Messages []*sarama.ConsumerMessage // in their order, at least one; the loop's to keep
	own      handling
	span     trace.Span
	options  *topicOptions
	start    time.Time
	place    *place      // among what is in hand; the loop's
	timed    atomic.Bool // its records have spans, and so times, of their own
	err      error
	failure  atomic.Pointer[error] // of the function Fail
}

// Context returns the context of the batch's handling: the session's, with the batch's span.
func (b *Batch) Context() context.Context { return &b.own }

// Fail says that handling the batch failed: its span then fails with the error's kind, and its records do not count as
// consumed.
func (b *Batch) Fail(err error) { b.err = err }

// Batches returns the claim's records for a loop in ConsumeClaim, as many at once as are there, 1 to most of them, without
// waiting for more:
//
//	for batch := range inst.Batches(session, claim, 500) {
//		if err := store(batch.Context(), batch.Messages); err != nil {
//			batch.Fail(err)
//			return err
//		}
//		session.MarkMessage(batch.Messages[len(batch.Messages)-1], "")
//	}
//
// Around the loop's body is one span "process <topic>", however the body is left: the root of a trace of its own, with a
// link to each record's sender that is sampled; it is sampled if one of them is. The SDK keeps 128 links unless
// OTEL_SPAN_LINK_COUNT_LIMIT has another number; the attribute messaging.batch.message_count has the true number. Unless
// [Batch.Fail] was called, the records count as consumed then. All else is as with [Instrumentation.Records].
//
// What each record took is known to the body alone: an equal part of the batch's time is recorded for each. To measure it
// instead, and to give each record a span in its own trace, call [Instrumentation.StartProcess] in the batch's context, before
// and after each record; this works from several goroutines too.
func (i *Instrumentation) Batches(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim, most int,
) iter.Seq[*Batch] {
	return i.batches(newReader(session, claim), most)
}

func (i *Instrumentation) batches(next *reader, most int) iter.Seq[*Batch] {
	return func(yield func(*Batch) bool) {
		var current *Batch
		var kept loop
		defer kept.leave()
		defer func() {
			if current != nil {
				current.err = errPanicked{}
				i.finishBatch(current)
			}
		}()
		for {
			messages := next.batch(max(most, 1))
			if messages == nil {
				return
			}
			next.took(messages[0])
			current = i.startProcessBatch(next.ctx, messages, &kept)
			more := yield(current)
			i.finishBatch(current)
			if current.err == nil {
				next.passed(messages[len(messages)-1])
			}
			current = nil
			if !more {
				return
			}
		}
	}
}

func (i *Instrumentation) finishBatch(b *Batch) {
	now, n := time.Now(), len(b.Messages)
	b.place.end()
	i.batching.Add(-1)
	err := b.err
	if err == nil {
		b.options.consumed.add(int64(n))
		if failure := b.failure.Load(); failure != nil {
			err = *failure
		}
	}
	if !b.timed.Load() {
		i.recordBatch(b, now, err)
	}
	if err != nil {
		b.options.failed.add(int64(n))
		fail(b.span, err)
	}
	b.span.End()
}

// recordBatch records what of a batch's records nobody else does.
func (i *Instrumentation) recordBatch(b *Batch, now time.Time, err error) {
	took := now.Sub(b.start).Seconds()
	for _, msg := range b.Messages {
		i.duration.Record(&b.own, took/float64(len(b.Messages)), b.options.record...)
		if err == nil && dated(msg.Timestamp) {
			i.endToEnd.Record(&b.own, max(0, now.Sub(msg.Timestamp).Seconds()), b.options.endToEnd...)
		}
	}
	if i.convention != nil {
		i.convention.recordProcess(&b.own, b.options, len(b.Messages), took, err)
	}
}

// handlingFailed takes note of [Fail].
func (b *Batch) handlingFailed(err error) { b.failure.Store(&err) }

// HandleBatch handles records of one partition, in their order; there is at least one. ctx is the session's context
// with the batch's span. The slice is the handler's to keep.
type HandleBatch func(ctx context.Context, session sarama.ConsumerGroupSession, batch []*sarama.ConsumerMessage) error

// NewBatchHandler returns a consumer group's handler that calls handle for the records that are there, 1 to most of
// them, as [Instrumentation.Batches] gives them.
//
// If handle returns nil, the batch is marked and its records are counted as consumed. An error fails the span and
// ends the claim with that error, the batch unmarked.
func NewBatchHandler(i *Instrumentation, most int, handle HandleBatch, options ...HandlerOption) sarama.ConsumerGroupHandler {
	return &batchHandler{handlerOptions: handlerOptionsOf(options), inst: i, most: most, handle: handle}
}

type batchHandler struct {
	handlerOptions
	inst   *Instrumentation
	most   int
	handle HandleBatch
}

// ConsumeClaim implements [sarama.ConsumerGroupHandler].
func (h *batchHandler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for batch := range h.inst.Batches(session, claim, h.most) {
		if err := h.handle(batch.Context(), session, batch.Messages); err != nil {
			batch.Fail(err)
			return err
		}
		session.MarkMessage(batch.Messages[len(batch.Messages)-1], "")
	}
	return nil
}

// startProcessBatch starts the span of records that are handled together.
func (i *Instrumentation) startProcessBatch(ctx context.Context, messages []*sarama.ConsumerMessage, of *loop) *Batch {
	senders := make([]trace.SpanContext, len(messages))
	for n, msg := range messages {
		senders[n] = trace.SpanContextFromContext(i.Extract(ctx, msg))
	}
	b := &Batch{Messages: messages, start: time.Now()}
	b.options, b.place = of.at(i, messages[0].Topic)
	b.options.begin(b.place, b.start, len(messages))
	i.batching.Add(1)
	how := append(slices.Clip(b.options.process), trace.WithNewRoot(), trace.WithLinks(linksTo(senders)...))
	b.own.of = b
	b.own.Context, b.span = i.tracer.Start(ctx, b.options.processName, how...) //nolint:spancheck // ended by finishBatch
	b.span.SetAttributes(b.options.processAttributes...)
	b.span.SetAttributes(semconv.MessagingBatchMessageCount(len(messages)))
	return b
}

// batch returns the records that are there, most at most, or waits for one; nil at the end.
func (r *reader) batch(most int) []*sarama.ConsumerMessage {
	msg := r.wait()
	if msg == nil {
		return nil
	}
	batch := append(make([]*sarama.ConsumerMessage, 0, min(most, 1+len(r.messages))), msg)
	for len(batch) < most {
		more, ok := r.poll()
		if !ok || more == nil {
			break
		}
		batch = append(batch, more)
	}
	return batch
}
