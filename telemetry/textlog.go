package telemetry

import (
	"context"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"go.opentelemetry.io/otel/trace"
)

const (
	// serviceColumn is the width of the column that holds the service's name; longer names push the line right.
	serviceColumn = 10
	textTime      = time.TimeOnly + ".000"
	// maxPooledLine bounds, in bytes, the memory of a line that is kept for the next one.
	maxPooledLine = 16 << 10
)

// What steers a terminal's colours.
const (
	faint  = "\x1b[2m"
	red    = "\x1b[91m"
	green  = "\x1b[92m"
	yellow = "\x1b[93m"
	reset  = "\x1b[0m"
)

// textHandler writes lines for people: the service's name, the time, the level, the message, and what belongs to it as
// key=value. A line is one write, and costs no memory. Neither message nor values can end it or steer a terminal.
type textHandler struct {
	lines  io.Writer
	pool   *sync.Pool // of *[]byte, shared by all that derive from one
	prefix string
	level  slog.Level
	colour bool
	attrs  string // those of WithAttrs, written
	group  string // those of WithGroup, each with a full stop
}

func newTextHandler(lines io.Writer, service string, level slog.Level, colour bool) *textHandler {
	prefix := fmt.Sprintf("%-*s ", serviceColumn, service)
	if colour {
		prefix = fmt.Sprintf("\x1b[%dm%-*s%s ", serviceColour(service), serviceColumn, service, reset)
	}
	pool := &sync.Pool{New: func() any { return new([]byte) }}
	return &textHandler{lines: lines, pool: pool, prefix: prefix, level: level, colour: colour}
}

// serviceColour gives a name the same ANSI colour in every run. Red and yellow are left to errors and warnings.
func serviceColour(service string) int {
	colours := [...]int{36, 32, 35, 34, 96, 92, 95, 94}
	hash := fnv.New32a()
	hash.Write([]byte(service))
	return colours[hash.Sum32()%uint32(len(colours))]
}

// Enabled implements [slog.Handler].
func (h *textHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

// Handle implements [slog.Handler].
func (h *textHandler) Handle(ctx context.Context, record slog.Record) error {
	kept, _ := h.pool.Get().(*[]byte)
	b := (*kept)[:0]
	b = append(b, h.prefix...)
	if !record.Time.IsZero() {
		b = record.Time.AppendFormat(h.begin(b, faint), textTime)
		b = append(h.end(b), ' ')
	}
	b = append(h.appendLevel(b, record.Level), ' ')
	b = append(b, escapeControls(record.Message, true)...)
	b = append(b, h.attrs...)
	record.Attrs(func(a slog.Attr) bool {
		b = h.appendAttr(b, h.group, a)
		return true
	})
	if span := trace.SpanContextFromContext(ctx); span.IsValid() { // at the top, also for a logger with groups
		traceID, spanID := span.TraceID(), span.SpanID()
		b = hex.AppendEncode(h.appendKey(b, "", traceIDKey), traceID[:])
		b = hex.AppendEncode(h.appendKey(b, "", spanIDKey), spanID[:])
	}
	b = append(b, '\n')
	_, err := h.lines.Write(b)
	if cap(b) <= maxPooledLine {
		*kept = b
		h.pool.Put(kept)
	}
	return err
}

// WithAttrs implements [slog.Handler].
func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	derived, b := *h, []byte(h.attrs)
	for _, a := range attrs {
		b = h.appendAttr(b, h.group, a)
	}
	derived.attrs = string(b)
	return &derived
}

// WithGroup implements [slog.Handler].
func (h *textHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	derived := *h
	derived.group += name + "."
	return &derived
}

// begin and end stand around what has a colour.
func (h *textHandler) begin(b []byte, colour string) []byte {
	if h.colour {
		b = append(b, colour...)
	}
	return b
}

func (h *textHandler) end(b []byte) []byte { return h.begin(b, reset) }

// appendLevel writes INF, or INF+1 for a level between those that have names.
func (h *textHandler) appendLevel(b []byte, level slog.Level) []byte {
	name, named, colour := "ERR", slog.LevelError, red
	switch {
	case level < slog.LevelInfo:
		name, named, colour = "DBG", slog.LevelDebug, ""
	case level < slog.LevelWarn:
		name, named, colour = "INF", slog.LevelInfo, green
	case level < slog.LevelError:
		name, named, colour = "WRN", slog.LevelWarn, yellow
	}
	b = append(h.begin(b, colour), name...)
	if level > named {
		b = append(b, '+')
	}
	if level != named {
		b = strconv.AppendInt(b, int64(level-named), 10)
	}
	if colour == "" {
		return b
	}
	return h.end(b)
}

func (h *textHandler) appendAttr(b []byte, group string, attr slog.Attr) []byte {
	value := attr.Value.Resolve()
	if attr.Key == "" && value.Kind() == slog.KindAny && value.Any() == nil {
		return b // the empty attribute
	}
	if value.Kind() != slog.KindGroup {
		return appendLogValue(h.appendKey(b, group, attr.Key), value)
	}
	if attr.Key != "" {
		group += attr.Key + "."
	}
	for _, member := range value.Group() {
		b = h.appendAttr(b, group, member)
	}
	return b
}

func (h *textHandler) appendKey(b []byte, group, key string) []byte {
	b = h.begin(append(b, ' '), faint)
	if group != "" {
		key = group + key
	}
	b = append(appendText(b, key), '=')
	return h.end(b)
}

// appendLogValue writes a value that is no group.
func appendLogValue(b []byte, value slog.Value) []byte {
	switch value.Kind() {
	case slog.KindString:
		return appendText(b, value.String())
	case slog.KindInt64:
		return strconv.AppendInt(b, value.Int64(), 10)
	case slog.KindUint64:
		return strconv.AppendUint(b, value.Uint64(), 10)
	case slog.KindFloat64:
		return strconv.AppendFloat(b, value.Float64(), 'g', -1, 64)
	case slog.KindBool:
		return strconv.AppendBool(b, value.Bool())
	case slog.KindDuration:
		return appendText(b, value.Duration().String())
	case slog.KindTime:
		return value.Time().AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
	default:
		if text, ok := value.Any().([]byte); ok {
			return strconv.AppendQuote(b, string(text))
		}
		return appendText(b, textOf(value.Any()))
	}
}

// appendText writes a text, in quotes where it could be misread or is not all printable.
func appendText(b []byte, s string) []byte {
	if s != "" && strings.IndexFunc(s, misread) < 0 {
		return append(b, s...)
	}
	return strconv.AppendQuote(b, s)
}

// misread says of a character that it needs quotes around it.
func misread(r rune) bool {
	return r == ' ' || r == '=' || r == '"' || r == utf8.RuneError || !unicode.IsPrint(r)
}
