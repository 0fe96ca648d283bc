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
	c := &sendCarrier{ProducerMessageCarrier: otelsarama.NewProducerMessageCarrier(msg), msg: msg}
	c.free = c.text[:0]
	headers := c.list[:0]
	if len(msg.Headers) >= len(c.list) {
		headers = make([]sarama.RecordHeader, 0, len(msg.Headers)+len(i.fields))
	}
	for _, h := range msg.Headers {
		if !i.isContext(h.Key) {
			headers = append(headers, h)
		}
	}
	msg.Headers = headers
	i.propagator.Inject(ctx, c)
}

// Fields returns the names of the headers that [Instrumentation.Inject] writes. The slice is not to be changed.
func (i *Instrumentation) Fields() []string {
	if len(i.fields) == 0 { // of a global propagator that is yet to be set
		return i.propagator.Fields()
	}
	return i.fields
}

// isContext says whether a header of that name carries trace context. Comparing here, and not by package slices,
// makes no string of the name.
func (i *Instrumentation) isContext(name []byte) bool {
	for _, field := range i.Fields() {
		if string(name) == field {
			return true
		}
	}
	return false
}

// Extract returns ctx with the span context and the baggage from the record's headers, and with these alone:
// a span in ctx, such as a batch's, does not become the parent of a record that has no context. Several headers
// tracestate, or baggage, are one list, in their order. A traceparent that is malformed (W3C Trace Context, section 3.2)
// or one of several counts as none, so that a new trace begins, as does what has over 8192 bytes. The record is not
// changed, and the work is bounded by the number of its headers, whatever their size.
func (i *Instrumentation) Extract(ctx context.Context, msg *sarama.ConsumerMessage) context.Context {
	if trace.SpanContextFromContext(ctx).IsValid() {
		ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	}
	if baggage.FromContext(ctx).Len() > 0 {
		ctx = baggage.ContextWithoutBaggage(ctx)
	}
	return i.propagator.Extract(ctx, receiveCarrier{msg})
}

// sendCarrier is otelsarama's carrier, in one piece of memory with what most records need: room for a traceparent and
// for the headers beside it. Every record sent needs one, and these would be three pieces.
type sendCarrier struct {
	otelsarama.ProducerMessageCarrier
	msg  *sarama.ProducerMessage
	text [len("traceparent") + len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]byte
	free []byte // what is left of text
	list [4]sarama.RecordHeader
}

// Set appends a header. [Instrumentation.Inject] has removed those of the same name.
func (c *sendCarrier) Set(name, value string) {
	text := append(append(c.free, name...), value...)
	key, rest := text[:len(name):len(name)], text[len(name):]
	c.free = rest[len(rest):]
	c.msg.Headers = append(c.msg.Headers, sarama.RecordHeader{Key: key, Value: rest[:len(rest):len(rest)]})
}

// Get returns what the headers of that name say, which may have come from elsewhere; see [headerList].
func (c *sendCarrier) Get(name string) string {
	return headerList(name, len(c.msg.Headers), func(i int) *sarama.RecordHeader { return &c.msg.Headers[i] })
}

var (
	_ propagation.TextMapCarrier = (*sendCarrier)(nil)
	_ propagation.TextMapCarrier = receiveCarrier{}
)

// receiveCarrier is otelsarama's carrier for headers whose size is the sender's to choose.
type receiveCarrier struct{ msg *sarama.ConsumerMessage }

// Get returns what the headers of that name say; see [headerList].
func (c receiveCarrier) Get(name string) string {
	return headerList(name, len(c.msg.Headers), func(i int) *sarama.RecordHeader { return c.msg.Headers[i] })
}

// headerList returns what n headers say under a name: those of a list one after the other, and of several traceparents
// nothing, for it is open which one is meant. Of other propagators' headers the first counts. What is too large is not
// even copied.
func headerList(name string, n int, header func(int) *sarama.RecordHeader) string {
	list := name == "tracestate" || name == "baggage"
	var first []byte
	found, size := 0, 0
	for i := range n {
		if h := header(i); h != nil && string(h.Key) == name {
			if found++; found == 1 {
				first = h.Value
			}
			if found == 1 || list {
				size += len(h.Value) + len(",")
			}
		}
	}
	switch {
	case found == 0, size > maxHeader+len(","), found > 1 && name == "traceparent":
		return ""
	case found == 1 || !list:
		return string(first)
	}
	all := make([]byte, 0, size)
	for i := range n {
		if h := header(i); h != nil && string(h.Key) == name {
			all = append(append(all, h.Value...), ',')
		}
	}
	return string(all[:len(all)-1])
}

// Set implements [propagation.TextMapCarrier].
func (c receiveCarrier) Set(name, value string) {
	otelsarama.NewConsumerMessageCarrier(c.msg).Set(name, value)
}

// Keys is here because the carrier's own fails on a nil header.
func (c receiveCarrier) Keys() []string {
	names := make([]string, 0, len(c.msg.Headers))
	for _, h := range c.msg.Headers {
		if h != nil {
			names = append(names, string(h.Key))
		}
	}
	return names
}

// withoutBaggage is a propagator whose baggage stays on its side.
type withoutBaggage struct{ propagation.TextMapPropagator }

// Inject implements [propagation.TextMapPropagator].
func (p withoutBaggage) Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	p.TextMapPropagator.Inject(baggage.ContextWithoutBaggage(ctx), carrier)
}

// Extract implements [propagation.TextMapPropagator].
func (p withoutBaggage) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	return baggage.ContextWithBaggage(p.TextMapPropagator.Extract(ctx, carrier), baggage.FromContext(ctx))
}
