package otelkafka

import (
	"context"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// SendSpan is the span of one record on its way to Kafka.
type SendSpan struct {
	inst    *Instrumentation
	ctx     context.Context
	span    trace.Span
	options *topicOptions
	start   time.Time // zero without the conventions' metrics
}

// StartSend starts the PRODUCER span "send <topic>", a child of the span in ctx, and writes its context into the
// record's headers; see [Instrumentation.Inject]. The context returned holds the span. End it exactly once.
func (i *Instrumentation) StartSend(ctx context.Context, msg *sarama.ProducerMessage) (context.Context, *SendSpan) {
	s := i.newSend(ctx, msg)
	return s.ctx, &s
}

// newSend is StartSend for callers that keep the span themselves, most of which is thrown away unsampled.
func (i *Instrumentation) newSend(ctx context.Context, msg *sarama.ProducerMessage) SendSpan {
	options := i.topics.get(msg.Topic)
	s := SendSpan{inst: i, options: options}
	if i.convention != nil {
		s.start = time.Now()
	}
	s.ctx, s.span = i.tracer.Start(ctx, //nolint:spancheck // ended by SendSpan.End
		options.sendName, options.send...)
	if s.span.IsRecording() {
		s.span.SetAttributes(options.sendAttributes...)
		s.span.SetAttributes(i.outgoingAttributes(msg)...)
	}
	i.Inject(s.ctx, msg)
	return s
}

// outgoingAttributes say what there is to say of one record before it is sent.
func (i *Instrumentation) outgoingAttributes(msg *sarama.ProducerMessage) []attribute.KeyValue {
	size := 0
	if msg.Value != nil {
		size = msg.Value.Length()
	}
	attributes := valueAttributes(msg.Value == nil, size, i.options.BodySize)
	if msg.Key == nil {
		return attributes
	}
	if key, err := msg.Key.Encode(); err == nil {
		if a, ok := keyAttribute(key); ok {
			attributes = append(attributes, a)
		}
	}
	return attributes
}

// End ends the span. With a nil error the record stands at that place in the log and counts in
// kafka_messages_produced_total; with an error the span fails, partition and offset are ignored, and nothing
// is counted there.
func (s *SendSpan) End(partition int32, offset int64, err error) {
	if err == nil {
		if s.span.IsRecording() {
			s.span.SetAttributes(positionAttributes(partition, offset)...)
		}
		s.inst.countProduced(s.ctx, s.options, 1)
	} else {
		fail(s.span, err)
	}
	if s.inst.convention != nil {
		s.inst.convention.sendEnded(s.ctx, s.options, time.Since(s.start).Seconds(), err)
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
