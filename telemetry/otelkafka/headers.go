package otelkafka

import (
	"context"
	"slices"

	"github.com/IBM/sarama"
	"github.com/dnwe/otelsarama"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// maxHeader bounds a header that is read as trace context, in bytes: the limit of W3C Baggage section 3.3.2,
// and many times that of the other two.
const maxHeader = 8192

// Inject writes the context of ctx (traceparent, tracestate, baggage) into the record's headers. What an earlier
// send left there under these names is removed; the headers get a slice of their own, so that records may share
// one before. It makes no span.
func (i *Instrumentation) Inject(ctx context.Context, msg *sarama.ProducerMessage) {
	headers := make([]sarama.RecordHeader, 0, len(msg.Headers)+len(i.fields))
	for _, h := range msg.Headers {
		if !slices.Contains(i.fields, string(h.Key)) {
			headers = append(headers, h)
		}
	}
	msg.Headers = headers
	i.propagator.Inject(ctx, otelsarama.NewProducerMessageCarrier(msg))
}

// Fields returns the names of the headers that [Instrumentation.Inject] writes. The slice is not to be changed.
func (i *Instrumentation) Fields() []string { return i.fields }

// Extract returns ctx with the span context and the baggage from the record's headers, and with these alone:
// a span in ctx, such as a batch's, does not become the parent of a record that has no context. Malformed and
// oversized headers are ignored.
func (i *Instrumentation) Extract(ctx context.Context, msg *sarama.ConsumerMessage) context.Context {
	if trace.SpanContextFromContext(ctx).IsValid() {
		ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	}
	if baggage.FromContext(ctx).Len() > 0 {
		ctx = baggage.ContextWithoutBaggage(ctx)
	}
	return i.propagator.Extract(ctx, boundedCarrier{otelsarama.NewConsumerMessageCarrier(msg), msg})
}

// boundedCarrier reads headers whose size is the sender's to choose.
type boundedCarrier struct {
	propagation.TextMapCarrier
	msg *sarama.ConsumerMessage
}

func (c boundedCarrier) Get(key string) string {
	value := c.TextMapCarrier.Get(key)
	if len(value) > maxHeader {
		return ""
	}
	return value
}

// Keys is here because the carrier's own fails on a nil header.
func (c boundedCarrier) Keys() []string {
	keys := make([]string, 0, len(c.msg.Headers))
	for _, h := range c.msg.Headers {
		if h != nil {
			keys = append(keys, string(h.Key))
		}
	}
	return keys
}
