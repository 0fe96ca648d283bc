package otelkafka

import (
	"context"
	"time"

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
// publish, a commit), and links the records' spans that are sampled. [BatchSpan.End] tells each of those records'
// traces of it too. Give only the records that the work is done for; invalid span contexts count, and are left out
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
