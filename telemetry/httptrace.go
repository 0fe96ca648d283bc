package telemetry

import (
	"encoding/hex"
	"net/http"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// TraceResponse is the response header that tells a client the trace of its request, whether or not it brought one:
// "00-<trace id>-<span id>-<flags>", as in the section on response headers of the editor's draft of W3C Trace Context.
// Flags 01 say that the trace is sampled.
const TraceResponse = "traceresponse"

// IsProbe reports whether a request is a monitor's: GET or HEAD of /metrics, of /health and what lies below it, or of
// /healthz, /livez and /readyz. It is the default of [WithoutTraces].
func IsProbe(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	switch r.URL.Path {
	case "/metrics", "/health", "/healthz", "/livez", "/readyz":
		return true
	default:
		return strings.HasPrefix(r.URL.Path, "/health/")
	}
}

// WithoutTraces says which requests start no trace of their own; nil means that all do. They are measured like any
// other, and one that brings a sampled trace is part of it. By default these are the requests of [IsProbe]: a monitor
// comes every few seconds, and its traces would bury those of users.
func WithoutTraces(quiet func(*http.Request) bool) HTTPOption {
	return func(c *httpChoices) { c.quiet = quiet }
}

// tracing returns the middleware that gives a request its span, and its answer the header [TraceResponse].
func tracing(t *Telemetry, quiet func(*http.Request) bool) func(http.Handler) http.Handler {
	span := continued(t)
	if t.recordsSpans() {
		span = otelhttp.NewMiddleware("",
			otelhttp.WithTracerProvider(t.spans),
			otelhttp.WithMeterProvider(noop.NewMeterProvider()),
			otelhttp.WithPropagators(t.propagator),
		)
	}
	return func(next http.Handler) http.Handler {
		traced := span(told(next))
		if quiet == nil {
			return traced
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if quiet(r) && !bringsSampled(t, r) {
				next.ServeHTTP(w, r)
				return
			}
			traced.ServeHTTP(w, r)
		})
	}
}

func bringsSampled(t *Telemetry, r *http.Request) bool {
	ctx := t.propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	return trace.SpanContextFromContext(ctx).IsSampled()
}

// told has the answer name its span.
func told(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if span := trace.SpanContextFromContext(r.Context()); span.IsValid() {
			w.Header().Set(TraceResponse, traceResponse(span))
		}
		next.ServeHTTP(w, r)
	})
}

func traceResponse(span trace.SpanContext) string {
	var buffer [55]byte // what version 00 takes
	id, own := span.TraceID(), span.SpanID()
	value := append(buffer[:0], "00-"...)
	value = append(hex.AppendEncode(value, id[:]), '-')
	value = append(hex.AppendEncode(value, own[:]), '-')
	return string(hex.AppendEncode(value, []byte{byte(span.TraceFlags())}))
}

// continued does what is left of otelhttp's work where spans are not recorded: it continues the trace in the
// request's headers, or starts one. otelhttp would gather the attributes of a span that nobody reads, which costs
// a request as much as reading its body and writing its answer do.
func continued(t *Telemetry) func(http.Handler) http.Handler {
	tracer := t.spans.Tracer(scope)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx := t.propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
			ctx, span := tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer))
			defer span.End()
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}
}
