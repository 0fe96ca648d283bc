package otelkafka

import (
	"encoding/hex"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/trace"
)

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
