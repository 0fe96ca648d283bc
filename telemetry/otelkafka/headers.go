package otelkafka

import (
	"context"
	"encoding/hex"

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

// parentName is the header of W3C Trace Context, section 3.2; parentLen the length of its value in version 00.
const (
	parentName = "traceparent"
	parentLen  = 2 + 1 + 32 + 1 + 16 + 1 + 2
)

// inlineHeaders holds the headers of one record in one piece of memory.
type inlineHeaders struct {
	name  [len(parentName)]byte
	value [parentLen]byte
	list  [4]sarama.RecordHeader
}

// injectParent writes what the propagator writes for a span without trace state or baggage, as most are. Doing it
// here costs every record sent one allocation instead of four.
func (i *Instrumentation) injectParent(span trace.SpanContext, msg *sarama.ProducerMessage) {
	held := &inlineHeaders{}
	list := held.list[:0]
	if len(msg.Headers) >= len(held.list) {
		list = make([]sarama.RecordHeader, 0, len(msg.Headers)+1)
	}
	copy(held.name[:], parentName)
	putParent(&held.value, span)
	msg.Headers = append(i.otherHeaders(list, msg), sarama.RecordHeader{Key: held.name[:], Value: held.value[:]})
}

// putParent writes version 00 of the header.
func putParent(value *[parentLen]byte, span trace.SpanContext) {
	id, parent := span.TraceID(), span.SpanID()
	flags := [1]byte{byte(span.TraceFlags() & (trace.FlagsSampled | trace.FlagsRandom))}
	copy(value[:], "00-")
	hex.Encode(value[3:], id[:])
	value[35] = '-'
	hex.Encode(value[36:], parent[:])
	value[52] = '-'
	hex.Encode(value[53:], flags[:])
}

// otherHeaders appends to list the record's headers that are no trace context.
func (i *Instrumentation) otherHeaders(list []sarama.RecordHeader, msg *sarama.ProducerMessage) []sarama.RecordHeader {
	for _, h := range msg.Headers {
		if !i.isContext(h.Key) {
			list = append(list, h)
		}
	}
	return list
}

// isContext says whether a header of that name carries trace context. Comparing here, and not by package slices,
// makes no string of the name.
func (i *Instrumentation) isContext(name []byte) bool {
	for _, field := range i.fields {
		if string(name) == field {
			return true
		}
	}
	return false
}

// remoteParent returns the span context in the record's headers if traceparent, version 00, is the only one that
// carries any context, and well formed; false leaves the headers to the propagator. It is the common case, and costs
// nothing here but the reading.
func (i *Instrumentation) remoteParent(headers []*sarama.RecordHeader) (trace.SpanContext, bool) {
	var value []byte
	for _, h := range headers {
		if h == nil || !i.isContext(h.Key) {
			continue
		}
		if value != nil || string(h.Key) != parentName || len(h.Value) != parentLen {
			return trace.SpanContext{}, false
		}
		value = h.Value
	}
	if value == nil {
		return trace.SpanContext{}, false
	}
	return readParent(value)
}

// readParent reads version 00 of the header, of the right length.
func readParent(value []byte) (trace.SpanContext, bool) {
	var config trace.SpanContextConfig
	var flags [1]byte
	if string(value[:3]) != "00-" || value[35] != '-' || value[52] != '-' ||
		!readHex(config.TraceID[:], value[3:35]) || !readHex(config.SpanID[:], value[36:52]) || !readHex(flags[:], value[53:]) {
		return trace.SpanContext{}, false
	}
	config.TraceFlags, config.Remote = trace.TraceFlags(flags[0]), true
	span := trace.NewSpanContext(config)
	return span, span.IsValid() && config.TraceFlags <= trace.FlagsSampled|trace.FlagsRandom
}

// readHex reads lower-case digits alone, as the specification has them.
func readHex(to, from []byte) bool {
	for _, digit := range from {
		if digit >= 'A' && digit <= 'F' {
			return false
		}
	}
	_, err := hex.Decode(to, from)
	return err == nil
}
