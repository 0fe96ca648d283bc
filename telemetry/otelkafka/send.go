package otelkafka

import (
	"context"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// SendSpan is the span of one record on its way to Kafka.
type SendSpan struct {
	inst  *Instrumentation
	ctx   context.Context
	span  trace.Span
	topic string
}

// StartSend starts the PRODUCER span "send <topic>", a child of the span in ctx, and writes its context into the
// record's headers; see [Instrumentation.Inject]. The context returned holds the span. End it exactly once.
func (i *Instrumentation) StartSend(ctx context.Context, msg *sarama.ProducerMessage) (context.Context, *SendSpan) {
	options := i.topics.get(msg.Topic)
	ctx, span := i.tracer.Start(ctx, options.sendName, options.send...)
	if span.IsRecording() && msg.Key != nil {
		if key, err := msg.Key.Encode(); err == nil {
			if attribute, ok := keyAttribute(key); ok {
				span.SetAttributes(attribute)
			}
		}
	}
	i.Inject(ctx, msg)
	return ctx, &SendSpan{inst: i, ctx: ctx, span: span, topic: msg.Topic}
}

// End ends the span. With a nil error the record stands at that place in the log and counts in
// kafka_messages_produced_total; with an error the span fails, partition and offset are ignored, and nothing
// is counted.
func (s *SendSpan) End(partition int32, offset int64, err error) {
	if err == nil {
		if s.span.IsRecording() {
			s.span.SetAttributes(positionAttributes(partition, offset)...)
		}
		s.inst.Produced(s.ctx, s.topic, 1)
	} else {
		fail(s.span, err)
	}
	s.span.End()
}

// SpanContext identifies the span, to link it from a batch.
func (s *SendSpan) SpanContext() trace.SpanContext { return s.span.SpanContext() }

// fail marks a span as failed by the kind of error, without its text.
func fail(span trace.Span, err error) {
	if !span.IsRecording() {
		return
	}
	kind := errorType(err)
	span.SetStatus(codes.Error, kind.Value.AsString())
	span.SetAttributes(kind)
}
