package otelkafka

import (
	"context"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// ProcessSpan is the span of one record's handler.
type ProcessSpan struct {
	inst    *Instrumentation
	ctx     context.Context
	span    trace.Span
	options *topicOptions
	start   time.Time
}

// StartProcess starts the CONSUMER span "process <topic>", a child of the context in the record's headers, or a
// root without one; see [Instrumentation.Extract]. Deadline, cancellation and values are those of ctx. Start it
// just before the handler and end it just after, exactly once: the time between is the record's alone. Records
// sent on must be sent, or stored, with the context returned.
func (i *Instrumentation) StartProcess(ctx context.Context, msg *sarama.ConsumerMessage) (context.Context, *ProcessSpan) {
	options := i.topics.get(msg.Topic)
	start := time.Now()
	ctx, span := i.tracer.Start(i.Extract(ctx, msg), options.processName, options.process...)
	if span.IsRecording() {
		span.SetAttributes(positionAttributes(msg.Partition, msg.Offset)...)
		if key, ok := keyAttribute(msg.Key); ok {
			span.SetAttributes(key)
		}
	}
	return ctx, &ProcessSpan{inst: i, ctx: ctx, span: span, options: options, start: start}
}

// End ends the span and records its time in kafka_message_processing_duration_seconds, also for an error. The
// span's status then is the error's kind, by its method ErrorType() string if it has one; its text stays out.
// End does not count the record as consumed: see [Instrumentation.Consumed].
func (p *ProcessSpan) End(err error) {
	p.inst.duration.Record(p.ctx, time.Since(p.start).Seconds(), p.options.record...)
	if err != nil {
		fail(p.span, err)
	}
	p.span.End()
}

// SpanContext identifies the span, to link it from a batch.
func (p *ProcessSpan) SpanContext() trace.SpanContext { return p.span.SpanContext() }

// StartBatch starts an INTERNAL span for work that is done for many records at once (a storage transaction, a
// publish, a commit) and links their spans. Invalid span contexts are left out. The SDK keeps at most 128 links
// by default (OTEL_SPAN_LINK_COUNT_LIMIT); the attribute messaging.batch.message_count has the true number.
func (i *Instrumentation) StartBatch(
	ctx context.Context, name string, links []trace.SpanContext, attributes ...attribute.KeyValue,
) (context.Context, trace.Span) {
	kept := make([]trace.Link, 0, len(links))
	for _, link := range links {
		if link.IsValid() {
			kept = append(kept, trace.Link{SpanContext: link})
		}
	}
	return i.tracer.Start(ctx, name,
		trace.WithLinks(kept...),
		trace.WithAttributes(batchAttributes(len(links))...),
		trace.WithAttributes(attributes...),
	)
}
