package telemetry

import (
	"slices"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// encodable returns the spans with text that is no UTF-8 repaired. Protocol buffers refuse such text, and one span
// that holds it, a record's binary key say, would cost the whole batch.
func encodable(spans []sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	out := spans
	for i, span := range spans {
		if isEncodable(span) {
			continue
		}
		if &out[0] == &spans[0] {
			out = slices.Clone(spans) // the batch is the processor's
		}
		out[i] = repairedSpan{span}
	}
	return out
}

func isEncodable(span sdktrace.ReadOnlySpan) bool {
	if !utf8.ValidString(span.Name()) || !utf8.ValidString(span.Status().Description) || !validTexts(span.Attributes()) {
		return false
	}
	for _, e := range span.Events() {
		if !utf8.ValidString(e.Name) || !validTexts(e.Attributes) {
			return false
		}
	}
	for _, l := range span.Links() {
		if !validTexts(l.Attributes) {
			return false
		}
	}
	return true
}

func validTexts(attrs []attribute.KeyValue) bool {
	return !slices.ContainsFunc(attrs, func(a attribute.KeyValue) bool {
		return !utf8.ValidString(string(a.Key)) || !validText(a.Value)
	})
}

func validText(v attribute.Value) bool {
	switch v.Type() {
	case attribute.STRING:
		return utf8.ValidString(v.AsString())
	case attribute.STRINGSLICE:
		return !slices.ContainsFunc(v.AsStringSlice(), func(s string) bool { return !utf8.ValidString(s) })
	case attribute.SLICE:
		return !slices.ContainsFunc(v.AsSlice(), func(v attribute.Value) bool { return !validText(v) })
	case attribute.MAP:
		return validTexts(v.AsMap())
	default:
		return true
	}
}

// repairedSpan is a span whose text is UTF-8.
type repairedSpan struct{ sdktrace.ReadOnlySpan }

// Name implements [sdktrace.ReadOnlySpan].
func (s repairedSpan) Name() string { return repaired(s.ReadOnlySpan.Name()) }

// Status implements [sdktrace.ReadOnlySpan].
func (s repairedSpan) Status() sdktrace.Status {
	status := s.ReadOnlySpan.Status()
	status.Description = repaired(status.Description)
	return status
}

// Attributes implements [sdktrace.ReadOnlySpan].
func (s repairedSpan) Attributes() []attribute.KeyValue {
	return repairedAll(s.ReadOnlySpan.Attributes())
}

// Events implements [sdktrace.ReadOnlySpan].
func (s repairedSpan) Events() []sdktrace.Event {
	events := slices.Clone(s.ReadOnlySpan.Events())
	for i := range events {
		events[i].Name, events[i].Attributes = repaired(events[i].Name), repairedAll(events[i].Attributes)
	}
	return events
}

// Links implements [sdktrace.ReadOnlySpan].
func (s repairedSpan) Links() []sdktrace.Link {
	links := slices.Clone(s.ReadOnlySpan.Links())
	for i := range links {
		links[i].Attributes = repairedAll(links[i].Attributes)
	}
	return links
}

func repairedAll(attrs []attribute.KeyValue) []attribute.KeyValue {
	out := make([]attribute.KeyValue, len(attrs))
	for i, a := range attrs {
		out[i] = attribute.KeyValue{Key: attribute.Key(repaired(string(a.Key))), Value: repairedValue(a.Value)}
	}
	return out
}

func repairedValue(v attribute.Value) attribute.Value {
	switch v.Type() {
	case attribute.STRING:
		return attribute.StringValue(repaired(v.AsString()))
	case attribute.STRINGSLICE:
		texts := v.AsStringSlice()
		for i := range texts {
			texts[i] = repaired(texts[i])
		}
		return attribute.StringSliceValue(texts)
	case attribute.SLICE:
		values := v.AsSlice()
		for i := range values {
			values[i] = repairedValue(values[i])
		}
		return attribute.SliceValue(values...)
	case attribute.MAP:
		return attribute.MapValue(repairedAll(v.AsMap())...)
	default:
		return v
	}
}

func repaired(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// cut returns at most limit bytes of s, as UTF-8.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return repaired(s)
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
