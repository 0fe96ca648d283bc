package telemetry

import (
	"context"
	"encoding/binary"
	"math/rand/v2"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
)

// idleProvider makes spans that carry their context and record nothing. It stands in for the SDK where spans go
// nowhere: trace context still travels, logs and exemplars still carry trace ids, and attributes that nobody
// would read cost nothing. Like the SDK's default it samples roots and follows a parent's decision.
type idleProvider struct{ embedded.TracerProvider }

// Tracer implements [trace.TracerProvider].
func (idleProvider) Tracer(string, ...trace.TracerOption) trace.Tracer { return idleTracer{} }

type idleTracer struct{ embedded.Tracer }

// Start implements [trace.Tracer].
func (idleTracer) Start(ctx context.Context, _ string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	parent := trace.SpanContextFromContext(ctx)
	config := trace.SpanContextConfig{TraceFlags: trace.FlagsSampled, SpanID: newSpanID()}
	if parent.IsValid() && !startsRoot(options) {
		config.TraceID, config.TraceFlags, config.TraceState = parent.TraceID(), parent.TraceFlags(), parent.TraceState()
	} else {
		config.TraceID = newTraceID()
	}
	ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(config))
	return ctx, trace.SpanFromContext(ctx)
}

func startsRoot(options []trace.SpanStartOption) bool {
	if len(options) == 0 {
		return false
	}
	config := trace.NewSpanStartConfig(options...)
	return config.NewRoot()
}

// The ids need to be unlikely to meet, not hard to guess. All zeros are no id.

func newTraceID() (id trace.TraceID) {
	binary.BigEndian.PutUint64(id[:8], rand.Uint64()|1) //nolint:gosec // not a secret
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())   //nolint:gosec // not a secret
	return id
}

func newSpanID() (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], rand.Uint64()|1) //nolint:gosec // not a secret
	return id
}
