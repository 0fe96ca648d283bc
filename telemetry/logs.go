package telemetry

import (
	"context"
	"encoding"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/lmittmann/tint"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/internal/labels"
)

// newLogger returns the service's logger, which writes by local, and the provider that takes the same lines as log records
// where processors want them.
func newLogger(
	local slog.Handler, level slog.Level, res *resource.Resource, processors []sdklog.Processor,
) (*sdklog.LoggerProvider, *slog.Logger) {
	options := []sdklog.LoggerProviderOption{sdklog.WithResource(res)}
	for _, p := range processors {
		options = append(options, sdklog.WithProcessor(p))
	}
	provider := sdklog.NewLoggerProvider(options...)
	if len(processors) == 0 {
		return provider, slog.New(local)
	}
	return provider, slog.New(slog.NewMultiHandler(local, newExportHandler(provider, level)))
}

// newLocalHandler writes lines as configured.
func newLocalHandler(config Config) slog.Handler {
	w := NewLineWriter(config.LogWriter)
	var handler slog.Handler
	if config.LogFormat == LogJSON {
		handler = slog.NewJSONHandler(w, &slog.HandlerOptions{Level: config.LogLevel}).
			WithAttrs([]slog.Attr{slog.String(catalogue.ServiceLabel, config.Service)})
	} else {
		handler = newTextHandler(w, config.Service, config.LogLevel, config.LogFormat == LogColored)
	}
	return &traceHandler{base: handler, next: handler}
}

// serviceColumn is the width of the column that holds the service's name; longer names push the line right.
const serviceColumn = 10

// newTextHandler returns a handler whose lines start with the service's name.
func newTextHandler(w io.Writer, service string, level slog.Level, colour bool) slog.Handler {
	prefix := fmt.Sprintf("%-*s ", serviceColumn, service)
	if colour {
		prefix = fmt.Sprintf("\x1b[%dm%-*s\x1b[0m ", serviceColour(service), serviceColumn, service)
	}
	return tint.NewTextHandler(&prefixWriter{w: w, prefix: prefix}, &tint.Options{
		Level:       level,
		TimeFormat:  time.TimeOnly + ".000",
		NoColor:     !colour,
		ReplaceAttr: withoutControls,
	})
}

// serviceColour gives a name the same ANSI colour in every run. Red and yellow are left to errors and warnings.
func serviceColour(service string) int {
	colours := [...]int{36, 32, 35, 34, 96, 92, 95, 94}
	hash := fnv.New32a()
	hash.Write([]byte(service))
	return colours[hash.Sum32()%uint32(len(colours))]
}

// prefixWriter puts a prefix before each write, in one write to the writer below.
type prefixWriter struct {
	w      io.Writer
	prefix string
}

func (p *prefixWriter) Write(line []byte) (int, error) {
	n, err := p.w.Write(append([]byte(p.prefix), line...))
	return max(0, n-len(p.prefix)), err
}

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

// traceHandler adds trace_id and span_id from the context. They stand at the top of the record, also for a
// logger with groups, because that is where log stores look for them.
type traceHandler struct {
	base slog.Handler // without anything from the first WithGroup on
	next slog.Handler // with everything
	// grouped replays, on base, what was added from the first WithGroup on; nil while there is no group.
	grouped func(slog.Handler) slog.Handler
}

func (h *traceHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h *traceHandler) Handle(ctx context.Context, record slog.Record) error {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() {
		return h.next.Handle(ctx, record)
	}
	ids := []slog.Attr{
		slog.String("trace_id", span.TraceID().String()),
		slog.String("span_id", span.SpanID().String()),
	}
	if h.grouped != nil {
		return h.grouped(h.base.WithAttrs(ids)).Handle(ctx, record)
	}
	record = record.Clone()
	record.AddAttrs(ids...)
	return h.next.Handle(ctx, record)
}

func (h *traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	next := h.next.WithAttrs(attrs)
	if h.grouped == nil {
		return &traceHandler{base: next, next: next}
	}
	return &traceHandler{base: h.base, next: next, grouped: func(b slog.Handler) slog.Handler {
		return h.grouped(b).WithAttrs(attrs)
	}}
}

func (h *traceHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	replay := h.grouped
	if replay == nil {
		replay = func(b slog.Handler) slog.Handler { return b }
	}
	return &traceHandler{base: h.base, next: h.next.WithGroup(name), grouped: func(b slog.Handler) slog.Handler {
		return replay(b).WithGroup(name)
	}}
}

// LineWriter passes on one write at a time, so that the services of one process can log to one writer without
// cutting each other's lines. Create it once with [NewLineWriter] and give it to each service.
type LineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// NewLineWriter returns a LineWriter over w, or w itself if it is one already.
func NewLineWriter(w io.Writer) *LineWriter {
	if lines, ok := w.(*LineWriter); ok {
		return lines
	}
	return &LineWriter{w: w}
}

// Write writes p, which should be whole lines, while no other Write goes on.
func (l *LineWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// Unwrap returns the writer underneath, to ask whether it is a terminal.
func (l *LineWriter) Unwrap() io.Writer { return l.w }

// maxLogText bounds, in bytes, the message and each value of a log record that leaves the process: records wait
// in memory.
const maxLogText = 8 << 10

// exportHandler turns log lines into OpenTelemetry's log records, under the names and with the text that the
// service's own log has. The trace's ids stand in fields of the record's own, the service's name in its resource.
type exportHandler struct {
	level slog.Level
	next  slog.Handler
}

func newExportHandler(provider log.LoggerProvider, level slog.Level) slog.Handler {
	return &exportHandler{level, otelslog.NewHandler(scope, otelslog.WithLoggerProvider(provider))}
}

func (h *exportHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.level && h.next.Enabled(ctx, level)
}

func (h *exportHandler) Handle(ctx context.Context, record slog.Record) error {
	message := labels.Cut(escapeControls(record.Message, true), maxLogText)
	clean := slog.NewRecord(record.Time, record.Level, message, record.PC)
	record.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(exportable(a))
		return true
	})
	return h.next.Handle(ctx, clean)
}

func (h *exportHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = exportable(a)
	}
	return &exportHandler{h.level, h.next.WithAttrs(clean)}
}

func (h *exportHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &exportHandler{h.level, h.next.WithGroup(labels.Repaired(name))}
}

// exportable returns the attribute as text of bounded length, cleaned as in the service's own log; numbers and
// truth values stay what they are. It leaves otelslog no error, which it would move to another name, and nothing
// whose methods could panic. The text is UTF-8: one record with other text would cost its whole batch.
func exportable(attr slog.Attr) slog.Attr {
	attr.Key = labels.Repaired(attr.Key)
	attr.Value = attr.Value.Resolve()
	switch attr.Value.Kind() {
	case slog.KindGroup:
		members := attr.Value.Group()
		clean := make([]slog.Attr, len(members))
		for i, m := range members {
			clean[i] = exportable(m)
		}
		attr.Value = slog.GroupValue(clean...)
	case slog.KindString:
		attr.Value = slog.StringValue(labels.Cut(escapeControls(attr.Value.String(), false), maxLogText))
	case slog.KindTime:
		attr.Value = slog.StringValue(attr.Value.Time().Format(time.RFC3339Nano))
	case slog.KindAny:
		switch v := attr.Value.Any().(type) {
		case nil: // an empty attribute is left out, and nil stays nil
		case []byte:
			attr.Value = slog.StringValue(labels.Cut(string(v), maxLogText))
		default:
			attr.Value = slog.StringValue(labels.Cut(escapeControls(textOf(v), false), maxLogText))
		}
	}
	return attr
}
