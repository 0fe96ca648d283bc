package telemetry

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"

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

// newLocalHandler writes lines as configured. Warnings and errors do not wait in a [LineWriter] that batches.
func newLocalHandler(config Config) slog.Handler {
	w := NewLineWriter(config.LogWriter)
	if config.LogFormat != LogJSON {
		return &urgent{newTextHandler(queue{w}, config.Service, config.LogLevel, config.LogFormat == LogColored), w}
	}
	handler := slog.NewJSONHandler(queue{w}, &slog.HandlerOptions{Level: config.LogLevel}).
		WithAttrs([]slog.Attr{slog.String(catalogue.ServiceLabel, config.Service)})
	return &urgent{&traceHandler{base: handler, next: handler}, w}
}

// urgent has warnings and errors written before the call that logs them returns.
type urgent struct {
	slog.Handler
	lines *LineWriter
}

func (u *urgent) Handle(ctx context.Context, record slog.Record) error {
	err := u.Handler.Handle(ctx, record)
	if record.Level >= slog.LevelWarn {
		err = errors.Join(err, u.lines.Flush())
	}
	return err
}

func (u *urgent) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &urgent{u.Handler.WithAttrs(attrs), u.lines}
}

func (u *urgent) WithGroup(name string) slog.Handler {
	return &urgent{u.Handler.WithGroup(name), u.lines}
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

// escapeControls writes control characters as \uXXXX, but for newlines and tabs where not all are meant.
func escapeControls(s string, all bool) string {
	steers := func(r rune) bool { return unicode.IsControl(r) && (all || (r != '\n' && r != '\t' && r != '\r')) }
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

// Names of the attributes that say in which span a line was logged.
const (
	traceIDKey = "trace_id"
	spanIDKey  = "span_id"
)

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
	traceID, spanID := slog.String(traceIDKey, span.TraceID().String()), slog.String(spanIDKey, span.SpanID().String())
	if h.grouped != nil {
		return h.grouped(h.base.WithAttrs([]slog.Attr{traceID, spanID})).Handle(ctx, record)
	}
	record = record.Clone()
	record.AddAttrs(traceID, spanID)
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
