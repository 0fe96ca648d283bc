package otelhttpserver

import (
	"context"
	"encoding/hex"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// TraceResponse is the response header with the trace of the client's request, whether or not it brought one:
// "00-<trace id>-<span id>-<flags>", as in the section on response headers of the editor's draft of W3C Trace Context.
// Flags 01 say that the trace is sampled.
const TraceResponse = "traceresponse"

// tracing returns the middleware that gives a request its span, and its answer the header [TraceResponse].
func (c config) tracing() func(http.Handler) http.Handler {
	span := c.recorded()
	if provider, ok := c.tracers.(serverStarter); ok {
		span = c.recordedOrContinued(provider)
	}
	return func(next http.Handler) http.Handler {
		traced := next
		if !c.silent {
			traced = addTraceResponse(next)
		}
		traced = span(traced)
		if c.quiet == nil {
			return traced
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c.quiet(r) && !c.bringsSampled(r) {
				next.ServeHTTP(w, r)
				return
			}
			traced.ServeHTTP(w, r)
		})
	}
}

// recorded gives each request a span with everything that the conventions know of it.
func (c config) recorded() func(http.Handler) http.Handler {
	return otelhttp.NewMiddleware("",
		otelhttp.WithTracerProvider(c.tracers),
		otelhttp.WithMeterProvider(noop.NewMeterProvider()),
		otelhttp.WithPropagators(c.propagator),
	)
}

// serverStarter is a tracer provider that knows, before a request's span starts, whether it is going to be recorded.
// StartServer continues the trace in ctx, or starts one, and returns a span that needs no end; where the span is to be
// recorded it is nil, and ctx has what the tracer needs to start it.
type serverStarter interface {
	StartServer(ctx context.Context, name string) (context.Context, trace.Span)
}

// recordedOrContinued asks the provider before it gathers anything for a span. otelhttp would gather the attributes of a
// span that nobody reads, which costs a request as much as reading its body and writing its answer do.
func (c config) recordedOrContinued(provider serverStarter) func(http.Handler) http.Handler {
	record := c.recorded()
	return func(next http.Handler) http.Handler {
		kept := record(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx := c.propagator.Extract(r.Context(), requestCarrier{propagation.HeaderCarrier(r.Header)})
			ctx, span := provider.StartServer(ctx, knownMethod(r.Method, "HTTP"))
			if span == nil {
				kept.ServeHTTP(w, r.WithContext(ctx))
				return
			}
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}
}

func (c config) bringsSampled(r *http.Request) bool {
	ctx := c.propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	return trace.SpanContextFromContext(ctx).IsSampled()
}

// addTraceResponse adds the header [TraceResponse] to the response.
func addTraceResponse(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if span := trace.SpanContextFromContext(r.Context()); span.IsValid() {
			w.Header()[canonicalTraceResponse] = []string{traceResponse(span)}
		}
		next.ServeHTTP(w, r)
	})
}

// canonicalTraceResponse is [TraceResponse] as [http.Header] has it.
const canonicalTraceResponse = "Traceresponse"

// traceResponse is the header's value, whose form is traceparent's. An answer has no trace state. Every request needs one,
// and the propagator would make several pieces of memory.
func traceResponse(span trace.SpanContext) string {
	var room [len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]byte
	traceID, spanID := span.TraceID(), span.SpanID()
	text := hex.AppendEncode(append(room[:0], "00-"...), traceID[:])
	text = hex.AppendEncode(append(text, '-'), spanID[:])
	return string(hex.AppendEncode(append(text, '-'), []byte{byte(span.TraceFlags() & (trace.FlagsSampled | trace.FlagsRandom))}))
}

// requestCarrier is a request's headers, of which those of W3C's propagators are found without making their canonical names.
type requestCarrier struct{ propagation.HeaderCarrier }

// Get implements [propagation.TextMapCarrier].
func (c requestCarrier) Get(name string) string {
	if values := c.Values(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Values implements [propagation.ValuesGetter].
func (c requestCarrier) Values(name string) []string {
	switch name {
	case "traceparent":
		return c.HeaderCarrier["Traceparent"]
	case "tracestate":
		return c.HeaderCarrier["Tracestate"]
	case "baggage":
		return c.HeaderCarrier["Baggage"]
	default:
		return c.HeaderCarrier.Values(name)
	}
}

// nameRoute gives the span the route that otelhttp could not know when it started it.
func nameRoute(r *http.Request, pattern string) {
	if span := trace.SpanFromContext(r.Context()); pattern != "" && span.IsRecording() {
		span.SetAttributes(semconv.HTTPRoute(pattern))
	}
}

// markPanicked finishes the span that otelhttp only ends when its handler panics.
func markPanicked(r *http.Request) {
	span := trace.SpanFromContext(r.Context())
	if !span.IsRecording() {
		return
	}
	if route := RoutePattern(r); route != "" {
		span.SetName(knownMethod(r.Method, "HTTP") + " " + route)
	}
	span.SetStatus(codes.Error, "panic")
	span.SetAttributes(semconv.HTTPResponseStatusCode(http.StatusInternalServerError), semconv.ErrorTypeKey.String("panic"))
}
