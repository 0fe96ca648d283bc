package otelkafka

import (
	"context"

	"github.com/IBM/sarama"
	"github.com/dnwe/otelsarama"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// maxHeader bounds a header that is read as trace context, in bytes: the limit of W3C Baggage section 3.3.2,
// and many times that of the other two.
const maxHeader = 8192

// Inject writes the context of ctx (traceparent, tracestate, baggage) into the record's headers, each name at most
// once. What an earlier send left there under these names is removed; all other headers stay as they are, in their
// order. The headers get a slice of their own, so that records may share one before. It makes no span.
func (i *Instrumentation) Inject(ctx context.Context, msg *sarama.ProducerMessage) {
	span := trace.SpanContextFromContext(ctx)
	if span.IsValid() && span.TraceState().Len() == 0 && baggage.FromContext(ctx).Len() == 0 {
		i.injectParent(span, msg)
		return
	}
	msg.Headers = i.otherHeaders(make([]sarama.RecordHeader, 0, len(msg.Headers)+len(i.fields)), msg)
	i.propagator.Inject(ctx, otelsarama.NewProducerMessageCarrier(msg))
}

// Fields returns the names of the headers that [Instrumentation.Inject] writes. The slice is not to be changed.
func (i *Instrumentation) Fields() []string { return i.fields }

// Extract returns ctx with the span context and the baggage from the record's headers, and with these alone:
// a span in ctx, such as a batch's, does not become the parent of a record that has no context. Of several headers
// of one name the first counts. A traceparent that is malformed (W3C Trace Context, section 3.2) counts as none, so
// that a new trace begins, as does any header over 8192 bytes. The record is not changed, and the work is bounded by
// the number of its headers, whatever their size.
func (i *Instrumentation) Extract(ctx context.Context, msg *sarama.ConsumerMessage) context.Context {
	if trace.SpanContextFromContext(ctx).IsValid() {
		ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	}
	if baggage.FromContext(ctx).Len() > 0 {
		ctx = baggage.ContextWithoutBaggage(ctx)
	}
	if parent, ok := i.remoteParent(msg.Headers); ok {
		return trace.ContextWithSpanContext(ctx, parent)
	}
	return i.propagator.Extract(ctx, boundedCarrier{otelsarama.NewConsumerMessageCarrier(msg), msg})
}

// boundedCarrier reads headers whose size is the sender's to choose.
type boundedCarrier struct {
	propagation.TextMapCarrier
	msg *sarama.ConsumerMessage
}

// Get returns the first header of that name. One that is too large is not even copied.
func (c boundedCarrier) Get(key string) string {
	for _, h := range c.msg.Headers {
		if h != nil && string(h.Key) == key {
			if len(h.Value) > maxHeader {
				return ""
			}
			break
		}
	}
	return c.TextMapCarrier.Get(key)
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
