package telemetry

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
)

// newTracerProviders returns the SDK's provider and the one that makes the service's spans: the same where somebody reads
// all spans or a sampler was asked for, else one that records what the keeper keeps, which without a keeper is nothing.
// The error is about a sampler's setting; the providers are usable all the same.
//
// Limits are left to the SDK, which reads them from OTEL_SPAN_*. Panics are not recorded in spans: a panic's text can hold
// anything.
func newTracerProviders(
	resource *resource.Resource, processors []sdktrace.SpanProcessor, config Config,
) (*sdktrace.TracerProvider, trace.TracerProvider, error) {
	keeper := config.Keeper
	configured, wrong := samplerFromEnvironment()
	options := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(resource), sdktrace.WithoutPanicRecording(), sdktrace.WithRawSpanLimits(spanLimits()),
	}
	for _, p := range processors {
		options = append(options, sdktrace.WithSpanProcessor(p))
	}
	var sampler sdktrace.Sampler = linkFollower{configured}
	if keeper != nil {
		sampler = keepingSampler{sampler, keeper}
		options = append(options, sdktrace.WithSpanProcessor(keeperProcessor{keeper}), sdktrace.WithIDGenerator(chosenIDs{}))
	}
	sdk := sdktrace.NewTracerProvider(append(options, sdktrace.WithSampler(sampler))...)
	switch all := len(processors) > 0 || os.Getenv(samplerName) != ""; {
	case all:
		return sdk, sdk, wrong
	case keeper != nil:
		return sdk, keptProvider{sdk: sdk, keeper: keeper}, wrong
	default:
		provider := idleProvider{}
		if config.SampleUnrecorded {
			provider.flags = trace.FlagsSampled
		}
		return sdk, provider, wrong
	}
}

// maxSpanText bounds, in characters, the text of an attribute of a span: a request's path, say, is the caller's to
// choose, and collectors refuse large batches. OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT and its like go before it.
const maxSpanText = 4 << 10

func spanLimits() sdktrace.SpanLimits {
	limits := sdktrace.NewSpanLimits()
	if limits.AttributeValueLengthLimit < 0 {
		limits.AttributeValueLengthLimit = maxSpanText
	}
	return limits
}

// The variables that choose a sampler.
const (
	samplerName     = "OTEL_TRACES_SAMPLER"
	samplerArgument = "OTEL_TRACES_SAMPLER_ARG"
)

// linkFollower samples a root that starts with links where a child of one of the linked spans would be sampled. A batch's
// span is such a root: decided by its own trace id it would be missing from the traces that were kept, and kept where
// none of its records was. Everything else is the configured sampler's to decide, as is every link.
type linkFollower struct{ configured sdktrace.Sampler }

// ShouldSample implements [sdktrace.Sampler].
func (f linkFollower) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if len(p.Links) == 0 || trace.SpanContextFromContext(p.ParentContext).IsValid() {
		return f.configured.ShouldSample(p)
	}
	var last sdktrace.SamplingResult
	for _, link := range p.Links {
		child := p
		child.ParentContext, child.TraceID = trace.ContextWithSpanContext(context.Background(), link.SpanContext), link.SpanContext.TraceID()
		last = f.configured.ShouldSample(child)
		if last.Decision == sdktrace.RecordAndSample {
			break
		}
	}
	last.Tracestate = trace.TraceState{} // the linked trace's
	return last
}

// Description implements [sdktrace.Sampler].
func (f linkFollower) Description() string { return "LinkFollower{" + f.configured.Description() + "}" }

// samplerFromEnvironment returns the sampler of OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG. As the OpenTelemetry
// specification says (Environment Variable Specification, "General SDK Configuration"), the default is
// parentbased_always_on, the default ratio is 1, and a value that means nothing counts as unset: the error says so, and
// the sampler is usable all the same. The SDK reads the variables alike, and gives nobody the sampler to wrap.
func samplerFromEnvironment() (sdktrace.Sampler, error) {
	name := strings.ToLower(strings.TrimSpace(os.Getenv(samplerName)))
	kind, ofParent := strings.CutPrefix(name, "parentbased_")
	var root sdktrace.Sampler
	var err error
	switch kind {
	case "always_on":
		root = sdktrace.AlwaysSample()
	case "always_off":
		root = sdktrace.NeverSample()
	case "traceidratio":
		var ratio float64
		ratio, err = ratioFromEnvironment()
		root = sdktrace.TraceIDRatioBased(ratio)
	default:
		root, ofParent = sdktrace.AlwaysSample(), true
		if name != "" {
			err = fmt.Errorf("%s %q: no sampler of that name, using parentbased_always_on", samplerName, name)
		}
	}
	if ofParent {
		root = sdktrace.ParentBased(root)
	}
	return root, err
}

func ratioFromEnvironment() (float64, error) {
	text := strings.TrimSpace(os.Getenv(samplerArgument))
	if text == "" {
		return 1, nil
	}
	ratio, err := strconv.ParseFloat(text, 64)
	if err == nil && !(ratio >= 0 && ratio <= 1) { // also refuses NaN
		err = errors.New("out of range")
	}
	if err != nil {
		return 1, fmt.Errorf("%s %q: want a ratio from 0 to 1, using 1: %w", samplerArgument, text, err)
	}
	return ratio, nil
}

// idleProvider makes spans that carry their context and record nothing. It stands in for the SDK where spans go
// nowhere: trace context still travels, logs and exemplars still carry trace ids, and attributes that nobody
// would read cost nothing. It follows a parent's decision.
type idleProvider struct {
	embedded.TracerProvider
	flags trace.TraceFlags // of roots
}

// Tracer implements [trace.TracerProvider].
func (p idleProvider) Tracer(string, ...trace.TracerOption) trace.Tracer {
	return idleTracer{flags: p.flags}
}

// StartServer begins the work on a request as package otelhttpserver wants it: no request's span is recorded.
func (p idleProvider) StartServer(ctx context.Context, name string) (context.Context, trace.Span) {
	return idleTracer{flags: p.flags}.Start(ctx, name)
}

type idleTracer struct {
	embedded.Tracer
	flags trace.TraceFlags // of roots
}

// Start implements [trace.Tracer].
func (t idleTracer) Start(ctx context.Context, _ string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	if parent := trace.SpanContextFromContext(ctx); parent.IsValid() && !startsRoot(options) {
		return idleChild(ctx, parent)
	}
	return idleRoot(ctx, newTraceID(), t.flags)
}

func idleRoot(ctx context.Context, id trace.TraceID, flags trace.TraceFlags) (context.Context, trace.Span) {
	return withIdle(ctx, trace.SpanContextConfig{TraceID: id, TraceFlags: flags, SpanID: newSpanID()})
}

func idleChild(ctx context.Context, parent trace.SpanContext) (context.Context, trace.Span) {
	return withIdle(ctx, trace.SpanContextConfig{
		TraceID: parent.TraceID(), TraceFlags: parent.TraceFlags(), TraceState: parent.TraceState(), SpanID: newSpanID(),
	})
}

func withIdle(ctx context.Context, config trace.SpanContextConfig) (context.Context, trace.Span) {
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

// newTraceID makes ids that need to be unlikely to meet, as newSpanID does, not hard to guess. All zeros are no id.
func newTraceID() (id trace.TraceID) {
	binary.BigEndian.PutUint64(id[:8], rand.Uint64()|1) //nolint:gosec // not a secret
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())   //nolint:gosec // not a secret
	return id
}

func newSpanID() (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], rand.Uint64()|1) //nolint:gosec // not a secret
	return id
}

// traceContext propagates W3C Trace Context as [propagation.TraceContext] does, which looks at the first header field of
// a name alone. Several fields tracestate are one list, in their order, as section 3.3 of the specification says. Several
// traceparents leave open which one is meant, so that there is none (section 3.2), and a new trace begins.
type traceContext struct{ propagation.TraceContext }

// Extract implements [propagation.TextMapPropagator].
func (t traceContext) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	all, ok := carrier.(propagation.ValuesGetter)
	if !ok {
		return t.TraceContext.Extract(ctx, carrier)
	}
	parents, states := all.Values("traceparent"), all.Values("tracestate")
	if len(parents) != 1 {
		return ctx
	}
	if len(states) > 1 {
		carrier = propagation.MapCarrier{"traceparent": carrier.Get("traceparent"), "tracestate": strings.Join(states, ",")}
	}
	return t.TraceContext.Extract(ctx, carrier)
}

// silentBaggage propagates W3C Baggage as [propagation.Baggage] does, and drops what is malformed or beyond the
// specification's limits without a word: the other hands the text of the first bad member in a process's life to the
// global error handler, which writes it, whatever a client put there, to standard error.
type silentBaggage struct{ propagation.Baggage }

// Extract implements [propagation.TextMapPropagator].
func (silentBaggage) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	const name = "baggage"
	text := carrier.Get(name)
	if all, ok := carrier.(propagation.ValuesGetter); ok {
		text = strings.Join(all.Values(name), ",") // several headers are one list
	}
	if text == "" {
		return ctx
	}
	found, _ := baggage.Parse(text) // the error names what is missing from found
	if found.Len() == 0 {
		return ctx
	}
	return baggage.ContextWithBaggage(ctx, found)
}
