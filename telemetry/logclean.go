package telemetry

import (
	"encoding"
	"fmt"
	"log/slog"
	"strings"
	"unicode"
)

// withoutControls escapes control characters in the message, and in values those that could steer a terminal,
// so that logged text can neither forge a line nor rewrite the screen. The handler alone would not do: it writes
// messages as they are, and in colour lets escape sequences in values through.
func withoutControls(groups []string, attr slog.Attr) slog.Attr {
	message := len(groups) == 0 && attr.Key == slog.MessageKey
	switch attr.Value.Kind() {
	case slog.KindString:
		return slog.String(attr.Key, escapeControls(attr.Value.String(), message))
	case slog.KindAny:
		switch v := attr.Value.Any().(type) {
		case slog.Level, *slog.Source, []byte, nil: // written safely by the handler
			return attr
		default:
			return slog.String(attr.Key, escapeControls(textOf(v), message))
		}
	default:
		return attr
	}
}

// textOf returns the value's text, also for a nil pointer whose methods panic.
func textOf(value any) (text string) {
	defer func() {
		if recover() != nil {
			text = "<no text>"
		}
	}()
	switch v := value.(type) {
	case error:
		return v.Error()
	case encoding.TextMarshaler:
		if b, err := v.MarshalText(); err == nil {
			return string(b)
		}
	}
	return fmt.Sprintf("%+v", value)
}

// escapeControls writes control characters as \uXXXX. Newlines and tabs in values are left to the handler, which
// quotes them. The spelt-out text \x1b is changed too: in colour the handler would turn it into the character.
func escapeControls(s string, all bool) string {
	steers := func(r rune) bool { return unicode.IsControl(r) && (all || (r != '\n' && r != '\t' && r != '\r')) }
	s = strings.ReplaceAll(s, `\x1b`, `\u001b`)
	if strings.IndexFunc(s, steers) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if steers(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
