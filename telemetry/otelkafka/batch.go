package otelkafka

import (
	"context"
	"slices"
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

// HandleBatch handles records of one partition, in their order; there is at least one. ctx is the session's context
// with the batch's span. The slice is the handler's to keep.
type HandleBatch func(ctx context.Context, session sarama.ConsumerGroupSession, batch []*sarama.ConsumerMessage) error

// NewBatchHandler returns a consumer group's handler that calls handle for the records that are there, 1 to most of
// them, without waiting for more. Around each call is one span "process <topic>", the root of its own trace, with a
// link to each record's sender that is sampled; it is sampled if one of them is. The SDK keeps 128 links unless
// OTEL_SPAN_LINK_COUNT_LIMIT has another number; the attribute messaging.batch.message_count has the true number.
//
// If handle returns nil, the batch is marked and its records are counted as consumed. An error fails the span and
// ends the claim with that error, the batch unmarked.
//
// The time that each record took is known to handle alone. To measure it, and to give each record a span in its own
// trace, call [Instrumentation.StartProcess] in handle, before and after each record; this works from several
// goroutines too.
func NewBatchHandler(i *Instrumentation, most int, handle HandleBatch, options ...HandlerOption) sarama.ConsumerGroupHandler {
	return &batchHandler{handlerOptions: handlerOptionsOf(options), inst: i, most: max(most, 1), handle: handle}
}

type batchHandler struct {
	handlerOptions
	inst   *Instrumentation
	most   int
	handle HandleBatch
}

// ConsumeClaim implements [sarama.ConsumerGroupHandler].
func (h *batchHandler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	inner, claim := unwatched(session, claim)
	next := newReader(inner, claim)
	for {
		batch := next.batch(h.most)
		if batch == nil {
			return nil
		}
		took(inner, batch[0])
		if err := h.run(session, batch); err != nil {
			return err
		}
	}
}

func (h *batchHandler) run(session sarama.ConsumerGroupSession, batch []*sarama.ConsumerMessage) (err error) {
	ctx, span := h.inst.startProcessBatch(session.Context(), batch)
	defer func() {
		if err != nil {
			fail(span, err)
		}
		span.End()
	}()
	err = errPanicked{} // stays if handle does not return
	if err = h.handle(ctx, session, batch); err != nil {
		return err
	}
	session.MarkMessage(batch[len(batch)-1], "")
	h.inst.CountConsumed(ctx, batch[0].Topic, int64(len(batch)))
	return nil
}

// startProcessBatch starts the span of records that are handled together.
func (i *Instrumentation) startProcessBatch(
	ctx context.Context, batch []*sarama.ConsumerMessage,
) (context.Context, trace.Span) {
	senders := make([]trace.SpanContext, len(batch))
	for n, msg := range batch {
		senders[n] = trace.SpanContextFromContext(i.Extract(ctx, msg))
	}
	options := i.topics.get(batch[0].Topic)
	how := append(slices.Clip(options.process), trace.WithNewRoot(), trace.WithLinks(linksTo(senders)...))
	ctx, span := i.tracer.Start(ctx, options.processName, how...) //nolint:spancheck // ended by the caller
	span.SetAttributes(options.processAttributes...)
	span.SetAttributes(semconv.MessagingBatchMessageCount(len(batch)))
	return ctx, span //nolint:spancheck // ended by the caller
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
