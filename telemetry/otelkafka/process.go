package otelkafka

import (
	"context"
	"time"

	"github.com/IBM/sarama"
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
// root without one; see [Instrumentation.Extract]. With [Options.LinkRecords] it is linked to that context instead.
// Deadline, cancellation and values are those of ctx. Start it just before the handler and end it just after, exactly
// once: the time between is the record's alone. Records sent on must be sent, or stored, with the context returned.
func (i *Instrumentation) StartProcess(ctx context.Context, msg *sarama.ConsumerMessage) (context.Context, *ProcessSpan) {
	p := i.newProcess(ctx, msg)
	return p.ctx, &p
}

// newProcess is StartProcess for callers that keep the span themselves.
func (i *Instrumentation) newProcess(ctx context.Context, msg *sarama.ConsumerMessage) ProcessSpan {
	p := ProcessSpan{inst: i, options: i.topics.get(msg.Topic), start: time.Now()}
	ambient := trace.SpanContextFromContext(ctx)
	ctx = i.Extract(ctx, msg)
	sender := trace.SpanContextFromContext(ctx)
	parent, link := ctx, ambient
	if i.options.LinkRecords {
		parent, link = trace.ContextWithSpanContext(ctx, ambient), sender
	}
	p.ctx, p.span = i.tracer.Start(parent, //nolint:spancheck // ended by ProcessSpan.End
		p.options.processName, p.options.process...)
	if p.span.IsRecording() {
		p.span.SetAttributes(p.options.processAttributes...)
		p.span.SetAttributes(positionAttributes(msg.Partition, msg.Offset)...)
		p.span.SetAttributes(valueAttributes(msg.Value == nil, len(msg.Value), i.options.BodySize)...)
		if key, ok := keyAttribute(msg.Key); ok {
			p.span.SetAttributes(key)
		}
		if link.IsValid() && ambient.SpanID() != sender.SpanID() {
			p.span.AddLink(trace.Link{SpanContext: link})
		}
	}
	return p
}

// End ends the span and records its time in kafka_message_processing_duration_seconds, also for an error. The
// span's status then is the error's kind, by its method ErrorType() string if it has one; its text stays out.
// End does not count the record as consumed: see [Instrumentation.Consumed].
func (p *ProcessSpan) End(err error) {
	seconds := time.Since(p.start).Seconds()
	p.inst.duration.Record(p.ctx, seconds, p.options.record...)
	if p.inst.convention != nil {
		p.inst.convention.processEnded(p.ctx, p.options, seconds, err)
	}
	if err != nil {
		fail(p.span, err)
	}
	p.span.End()
}

// SpanContext identifies the span, to link it from a batch.
func (p *ProcessSpan) SpanContext() trace.SpanContext { return p.span.SpanContext() }
