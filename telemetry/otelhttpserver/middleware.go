// Package otelhttpserver gives the requests of an HTTP server their spans and the documented metrics.
//
// It exists apart from package telemetry so that who has OpenTelemetry set up already gets both from the providers that
// there are. It needs OpenTelemetry's API and otelhttp, which makes the spans: no SDK, no exporter and no Prometheus.
// telemetry.HTTPMiddleware is the same for who has telemetry.Setup.
//
// The files, in the order in which to read them:
//
//   - middleware.go: the options, what is measured around a handler, and a request's span
//   - request.go: what a request asks for, and what it is answered with
//   - metrics.go: the metrics, and what bounds their series
package otelhttpserver

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"path"
	"reflect"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/internal/optin"
)

// New returns a middleware that gives every request a server span, a child of the trace in the request's headers and made
// by otelhttp where spans are recorded, and that counts and times it in http_requests_total and
// http_request_duration_seconds: http.requests and http.request.duration in OpenTelemetry. The answer names the span in
// its header [TraceResponse]. A monitor's requests start no trace: see [WithoutTraces].
//
// Without options it records with OpenTelemetry's global providers. Make one for a server and use it for all of its
// handlers: what bounds the series is counted for each. It fails if what it is given is nil, or a provider makes no
// instruments.
//
// Put an [http.ServeMux] directly inside: it writes the pattern into the request it is given, and a middleware that clones
// the request in between would hide it; see [WithRoute] for other routers.
//
// A handler that writes nothing counts as 200. One that panics counts as 500, even if it had answered already;
// the panic goes on to whatever recovers it outside. A recovery inside decides the status itself.
//
// Baggage in the request's headers ends here, for it would travel on into every request and record that the handler sends,
// unless [WithBaggage] says that the clients are trusted. Nothing here looks at it: it is in no span, metric or log line.
func New(options ...Option) (func(http.Handler) http.Handler, error) {
	c, err := newConfig(options)
	if err != nil {
		return nil, fmt.Errorf("instrument HTTP: %w", err)
	}
	m, err := newMetrics(c.instruments, c.conventions)
	if err != nil {
		return nil, fmt.Errorf("instrument HTTP: %w", err)
	}
	traced := c.tracing()
	return func(next http.Handler) http.Handler {
		return traced(measured(m, c.route, next))
	}, nil
}

// Option changes where telemetry of [New] goes, and what it has.
type Option func(*config)

type config struct {
	tracers     trace.TracerProvider
	meters      metric.MeterProvider
	propagator  propagation.TextMapPropagator
	instruments *catalogue.Instruments // of others, in place of meters
	route       func(*http.Request) string
	quiet       func(*http.Request) bool // nil if all are traced
	conventions bool
	silent      bool // answers name no trace
	trusted     bool // clients, with baggage
	errs        []error
}

// WithTracerProvider has spans made by p. The default, also for nil, is OpenTelemetry's global provider.
func WithTracerProvider(p trace.TracerProvider) Option { return func(c *config) { c.tracers = p } }

// WithMeterProvider has metrics recorded with p, under their names in OpenTelemetry
// ([catalogue.Metric.InstrumentName]). The default, also for nil, is OpenTelemetry's global provider.
func WithMeterProvider(p metric.MeterProvider) Option {
	return func(c *config) { c.meters, c.instruments = p, nil }
}

// WithPropagators has trace context read from requests' headers by p. The default, also for nil, is OpenTelemetry's
// global propagator, which does nothing until otel.SetTextMapPropagator gave it something to do.
func WithPropagators(p propagation.TextMapPropagator) Option {
	return func(c *config) { c.propagator = p }
}

// Telemetry is what [WithTelemetry] takes: *telemetry.Telemetry, or another thing that has these.
type Telemetry interface {
	TracerProvider() trace.TracerProvider
	Instruments() *catalogue.Instruments
	Propagator() propagation.TextMapPropagator
}

// WithTelemetry has spans and metrics go where t's go, and trace context read as t reads it.
func WithTelemetry(t Telemetry) Option {
	return func(c *config) {
		if v := reflect.ValueOf(t); !v.IsValid() || (v.Kind() == reflect.Pointer && v.IsNil()) {
			c.errs = append(c.errs, errors.New("telemetry is nil"))
			return
		}
		c.tracers, c.instruments, c.propagator = t.TracerProvider(), t.Instruments(), t.Propagator()
	}
}

// WithRoute says how to find the route of a request, for other routers than [http.ServeMux]. route is called after the
// handler, with the very request that was given to it, and returns the registered pattern without its method, or "" if
// none matched. The default, also for nil, is [RoutePattern].
func WithRoute(route func(*http.Request) string) Option { return func(c *config) { c.route = route } }

// WithConventions records http.server.request.duration of OpenTelemetry's semantic conventions beside the documented
// metrics; so does the variable OTEL_SEMCONV_STABILITY_OPT_IN, where it names http or http/dup. Its error.type is the status of answers from 500 on, or "panic". Its url.scheme is that of the connection,
// whatever a proxy in front says.
func WithConventions() Option { return func(c *config) { c.conventions = true } }

// WithoutTraces says which requests start no trace of their own; nil means that all do. They are measured like any
// other, and one that brings a sampled trace is part of it. By default these are the requests of [IsProbe]: a monitor
// comes every few seconds, and its traces would bury those of users.
func WithoutTraces(quiet func(*http.Request) bool) Option { return func(c *config) { c.quiet = quiet } }

// WithoutTraceResponse leaves the header [TraceResponse] out of answers, for a service whose traces are nothing to its
// clients.
func WithoutTraceResponse() Option { return func(c *config) { c.silent = true } }

// WithBaggage has the baggage in a request's headers travel on with the request's context, if the propagators have any: for
// servers whose clients are trusted.
func WithBaggage() Option { return func(c *config) { c.trusted = true } }

func newConfig(options []Option) (config, error) {
	c := config{quiet: IsProbe, conventions: optin.Newest("http")}
	for _, option := range options {
		if option == nil {
			c.errs = append(c.errs, errors.New("an option is nil"))
			continue
		}
		option(&c)
	}
	if c.tracers == nil {
		c.tracers = otel.GetTracerProvider()
	}
	if c.meters == nil {
		c.meters = otel.GetMeterProvider()
	}
	if c.instruments == nil {
		c.instruments = catalogue.NewInstruments(c.meters, append(catalogue.Common(), catalogue.Optional()...))
	}
	if c.propagator == nil {
		c.propagator = otel.GetTextMapPropagator()
	}
	if !c.trusted {
		c.propagator = withoutBaggage{c.propagator}
	}
	if c.route == nil {
		c.route = RoutePattern
	}
	return c, errors.Join(c.errs...)
}

// measured records the metrics around next. It runs inside otelhttp's handler, so that measurements carry the span as
// their exemplar and the request is the one whose pattern otelhttp names the span after.
func measured(m *metrics, route func(*http.Request) string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		recorded, answer := recordStatus(w)
		returned := false
		// The flag stands in for recover, which would end the panic here and lose its origin.
		defer func() {
			status := answer.status()
			if !returned {
				status = http.StatusInternalServerError
			}
			forgetRawPattern(r)
			if !returned {
				markPanicked(r)
			}
			took, pattern := time.Since(start), route(r)
			nameRoute(r, pattern)
			m.record(r, pattern, status, !returned, took)
		}()
		next.ServeHTTP(recorded, r)
		returned = true
	})
}

// withoutBaggage is a propagator that reads no baggage.
type withoutBaggage struct{ propagation.TextMapPropagator }

// Extract implements [propagation.TextMapPropagator].
func (p withoutBaggage) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	return baggage.ContextWithBaggage(p.TextMapPropagator.Extract(ctx, carrier), baggage.FromContext(ctx))
}

// forgetRawPattern clears a pattern that is no pattern: for the redirect of a CONNECT request to a path with a
// trailing slash, http.ServeMux sets Pattern to the path asked for, which is the caller's to choose.
func forgetRawPattern(r *http.Request) {
	if strings.HasSuffix(r.Pattern, "/") && !strings.HasSuffix(r.URL.Path, "/") && r.Pattern == path.Clean("/"+r.URL.Path)+"/" {
		r.Pattern = ""
	}
}

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
