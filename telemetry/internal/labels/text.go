package labels

import (
	"slices"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
)

// ValidAttributes reports whether all that is text in the attributes is UTF-8.
func ValidAttributes(attrs []attribute.KeyValue) bool {
	return !slices.ContainsFunc(attrs, func(a attribute.KeyValue) bool {
		return !utf8.ValidString(string(a.Key)) || !ValidText(a.Value)
	})
}

// ValidText reports whether all that is text in the value is UTF-8.
func ValidText(v attribute.Value) bool {
	switch v.Type() {
	case attribute.STRING:
		return utf8.ValidString(v.AsString())
	case attribute.STRINGSLICE:
		return !slices.ContainsFunc(v.AsStringSlice(), func(s string) bool { return !utf8.ValidString(s) })
	case attribute.SLICE:
		return !slices.ContainsFunc(v.AsSlice(), func(v attribute.Value) bool { return !ValidText(v) })
	case attribute.MAP:
		return ValidAttributes(v.AsMap())
	default:
		return true
	}
}

// Repaired returns s with U+FFFD for what is no UTF-8.
func Repaired(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Cut returns at most limit bytes of s, as UTF-8.
func Cut(s string, limit int) string {
	if len(s) <= limit {
		return Repaired(s)
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
