package telemetry

import (
	"context"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
)

// Keeper keeps the spans of some traces in the process, whatever is exported. The services of one process share one, so
// that a trace is kept whole. Its methods are called by many goroutines, and must not wait.
type Keeper interface {
	// Keeps says whether a span that is about to start is kept. It may be asked more than once about a span, and answers
	// the same for all spans of a trace from the first that it keeps on. Where nothing is exported it is asked about every
	// span, so that it has to be quick. Attributes are those that the span starts with, and may be missing.
	Keeps(span sdktrace.SamplingParameters) bool
	// OnEnd receives every span that was recorded; where spans are exported, also those that it does not keep.
	OnEnd(span sdktrace.ReadOnlySpan)
}

// keepingSampler has a span recorded that is kept though it is not sampled: it is then not exported, and the flag that
// travels with its context says what it said before.
type keepingSampler struct {
	configured sdktrace.Sampler
	keeper     Keeper
}

// ShouldSample implements [sdktrace.Sampler].
func (s keepingSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	result := s.configured.ShouldSample(p)
	if s.keeper.Keeps(p) && result.Decision == sdktrace.Drop {
		result.Decision = sdktrace.RecordOnly
	}
	return result
}

// Description implements [sdktrace.Sampler].
func (s keepingSampler) Description() string { return s.configured.Description() }

// keeperProcessor is a keeper as the SDK sees it. A keeper outlives each of the services that share it.
type keeperProcessor struct{ Keeper }

// OnStart implements [sdktrace.SpanProcessor].
func (keeperProcessor) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// ForceFlush implements [sdktrace.SpanProcessor].
func (keeperProcessor) ForceFlush(context.Context) error { return nil }

// Shutdown implements [sdktrace.SpanProcessor].
func (keeperProcessor) Shutdown(context.Context) error { return nil }

// keptProvider makes spans that record where the keeper keeps them. The others are those of [idleProvider], and cost what
// they cost there: most traces are not kept, and attributes of their spans would be read by nobody.
type keptProvider struct {
	embedded.TracerProvider
	sdk    *sdktrace.TracerProvider
	keeper Keeper
}

// Tracer implements [trace.TracerProvider].
func (p keptProvider) Tracer(name string, options ...trace.TracerOption) trace.Tracer {
	return keptTracer{sdk: p.sdk.Tracer(name, options...), keeper: p.keeper}
}

// StartServer begins the work on a request, as package otelhttpserver wants it, whose parent, if any, is in ctx. Where the span is to be kept it is nil, and
// ctx has what the tracer needs to start it.
func (p keptProvider) StartServer(ctx context.Context, name string) (context.Context, trace.Span) {
	parent := trace.SpanContextFromContext(ctx)
	id := parent.TraceID()
	if !parent.IsValid() {
		id = newTraceID()
	}
	switch keeps := p.keeper.Keeps(sdktrace.SamplingParameters{ParentContext: ctx, TraceID: id, Name: name, Kind: trace.SpanKindServer}); {
	case keeps && parent.IsValid():
		return ctx, nil
	case keeps:
		return withChosenID(ctx, id), nil
	case parent.IsValid():
		return idleChild(ctx, parent)
	default:
		return idleRoot(ctx, id, trace.FlagsSampled)
	}
}

type keptTracer struct {
	embedded.Tracer
	sdk    trace.Tracer
	keeper Keeper
}

// Start implements [trace.Tracer].
func (t keptTracer) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	config := trace.NewSpanStartConfig(options...)
	parent := trace.SpanContextFromContext(ctx)
	child := parent.IsValid() && !config.NewRoot()
	if child && trace.SpanFromContext(ctx).IsRecording() {
		return t.sdk.Start(ctx, name, options...) //nolint:spancheck // the caller ends it
	}
	id, in := parent.TraceID(), ctx
	switch {
	case child:
	case parent.IsValid():
		id, in = newTraceID(), trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	default:
		if id = chosenID(ctx); !id.IsValid() {
			id = newTraceID()
		}
	}
	keeps := t.keeper.Keeps(sdktrace.SamplingParameters{
		ParentContext: in, TraceID: id, Name: name, Kind: config.SpanKind(), Attributes: config.Attributes(), Links: config.Links(),
	})
	switch {
	case keeps && child:
		return t.sdk.Start(ctx, name, options...) //nolint:spancheck // the caller ends it
	case keeps:
		return t.sdk.Start(withChosenID(ctx, id), name, options...) //nolint:spancheck // the caller ends it
	case child:
		return idleChild(ctx, parent)
	default:
		return idleRoot(ctx, id, trace.FlagsSampled)
	}
}

// chosenIDs gives a root the trace id about which the keeper was asked, where that was before the span started.
type chosenIDs struct{}

// NewIDs implements [sdktrace.IDGenerator].
func (chosenIDs) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	id := chosenID(ctx)
	if !id.IsValid() {
		id = newTraceID()
	}
	return id, newSpanID()
}

// NewSpanID implements [sdktrace.IDGenerator].
func (chosenIDs) NewSpanID(context.Context, trace.TraceID) trace.SpanID { return newSpanID() }

// chosenIDKey is where a context has the id of the trace that begins in it. It means nothing below the trace's root.
type chosenIDKey struct{}

func withChosenID(ctx context.Context, id trace.TraceID) context.Context {
	return context.WithValue(ctx, chosenIDKey{}, id)
}

func chosenID(ctx context.Context) trace.TraceID {
	id, _ := ctx.Value(chosenIDKey{}).(trace.TraceID)
	return id
}
