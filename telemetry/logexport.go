package telemetry

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
)

// maxLogText bounds, in bytes, the message and each value of a log record that leaves the process: records wait
// in memory.
const maxLogText = 8 << 10

func newLoggerProvider(res *resource.Resource, processors []sdklog.Processor) *sdklog.LoggerProvider {
	options := []sdklog.LoggerProviderOption{sdklog.WithResource(res)}
	for _, p := range processors {
		options = append(options, sdklog.WithProcessor(p))
	}
	return sdklog.NewLoggerProvider(options...)
}

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
	message := cut(escapeControls(record.Message, true), maxLogText)
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
	return &exportHandler{h.level, h.next.WithGroup(repaired(name))}
}

// exportable returns the attribute as text of bounded length, cleaned as in the service's own log; numbers and
// truth values stay what they are. It leaves otelslog no error, which it would move to another name, and nothing
// whose methods could panic. The text is UTF-8: one record with other text would cost its whole batch.
func exportable(attr slog.Attr) slog.Attr {
	attr.Key = repaired(attr.Key)
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
		attr.Value = slog.StringValue(cut(escapeControls(attr.Value.String(), false), maxLogText))
	case slog.KindTime:
		attr.Value = slog.StringValue(attr.Value.Time().Format(time.RFC3339Nano))
	case slog.KindAny:
		switch v := attr.Value.Any().(type) {
		case nil: // an empty attribute is left out, and nil stays nil
		case []byte:
			attr.Value = slog.StringValue(cut(string(v), maxLogText))
		default:
			attr.Value = slog.StringValue(cut(escapeControls(textOf(v), false), maxLogText))
		}
	}
	return attr
}
