package telemetry

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
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
