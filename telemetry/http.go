package telemetry

import (
	"context"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/felixge/httpsnoop"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/internal/labels"
)

// HTTPMiddleware gives every request a server span, a child of the trace in the request's headers and made by
// otelhttp where spans are recorded, and counts and times it in http_requests_total and http_request_duration_seconds.
// The answer names the span in its header [TraceResponse]. A monitor's requests start no trace: see [WithoutTraces].
//
// Baggage in the request's headers travels on with the request's context, at most 8192 bytes of it (W3C Baggage), and
// is looked at by nothing here: it is in no span, metric or log line.
//
// route is called after the handler, with the very request that was given to it, and returns the registered
// pattern without its method, or "" if none matched; nil means [RoutePattern]. Put an [http.ServeMux] directly
// inside: it writes the pattern into the request it is given, and a middleware that clones the request in
// between would hide it.
//
// A handler that writes nothing counts as 200. One that panics counts as 500, even if it had answered already;
// the panic goes on to whatever recovers it outside. A recovery inside decides the status itself.
func HTTPMiddleware(
	t *Telemetry, route func(*http.Request) string, options ...HTTPOption,
) func(http.Handler) http.Handler {
	chosen := httpChoices{quiet: IsProbe}
	for _, option := range options {
		option(&chosen)
	}
	if route == nil {
		route = RoutePattern
	}
	traced := tracing(t, chosen.quiet)
	return func(next http.Handler) http.Handler {
		return traced(measured(t.http, route, chosen, next))
	}
}

// HTTPOption changes what [HTTPMiddleware] does.
type HTTPOption func(*httpChoices)

type httpChoices struct {
	conventions bool
	quiet       func(*http.Request) bool
}

// WithConventions records http.server.request.duration of OpenTelemetry's semantic conventions beside the documented
// metrics. Its error.type is the status of answers from 500 on, or "panic". Its url.scheme is that of the connection,
// whatever a proxy in front says.
func WithConventions() HTTPOption { return func(c *httpChoices) { c.conventions = true } }

// WithoutTraces says which requests start no trace of their own; nil means that all do. They are measured like any
// other, and one that brings a sampled trace is part of it. By default these are the requests of [IsProbe]: a monitor
// comes every few seconds, and its traces would bury those of users.
func WithoutTraces(quiet func(*http.Request) bool) HTTPOption {
	return func(c *httpChoices) { c.quiet = quiet }
}

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

// measured records the documented metrics around next. It runs inside otelhttp's handler, so that measurements
// carry the span as their exemplar and the request is the one whose pattern otelhttp names the span after.
func measured(metrics *httpMetrics, route func(*http.Request) string, chosen httpChoices, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		var answer statusRecorder
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
			metrics.record(r.Context(), r.Method, pattern, status, took)
			if chosen.conventions {
				metrics.convention.record(r, pattern, status, !returned, took)
			}
		}()
		next.ServeHTTP(answer.wrap(w), r)
		returned = true
	})
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
func tracing(t *Telemetry, quiet func(*http.Request) bool) func(http.Handler) http.Handler {
	span := recorded(t)
	switch provider := t.spans.(type) {
	case idleProvider:
		span = continued(t)
	case keptProvider:
		span = recordedOrContinued(t, provider)
	}
	return func(next http.Handler) http.Handler {
		traced := span(addTraceResponse(next))
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

// recorded gives each request a span with everything that the conventions know of it.
func recorded(t *Telemetry) func(http.Handler) http.Handler {
	return otelhttp.NewMiddleware("",
		otelhttp.WithTracerProvider(t.spans),
		otelhttp.WithMeterProvider(noop.NewMeterProvider()),
		otelhttp.WithPropagators(t.propagator),
	)
}

func bringsSampled(t *Telemetry, r *http.Request) bool {
	ctx := t.propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	return trace.SpanContextFromContext(ctx).IsSampled()
}

// addTraceResponse adds the header [TraceResponse] to the response.
func addTraceResponse(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		propagation.TraceContext{}.Inject(r.Context(), responseCarrier{propagation.HeaderCarrier(w.Header())})
		next.ServeHTTP(w, r)
	})
}

// responseCarrier has a propagator write the context that it injects as [TraceResponse], whose form is traceparent's. An
// answer has no trace state.
type responseCarrier struct{ propagation.HeaderCarrier }

// Set implements [propagation.TextMapCarrier].
func (c responseCarrier) Set(name, value string) {
	if name == "traceparent" {
		c.HeaderCarrier.Set(TraceResponse, value)
	}
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

// recordedOrContinued asks the keeper before it gathers anything for a span.
func recordedOrContinued(t *Telemetry, provider keptProvider) func(http.Handler) http.Handler {
	record := recorded(t)
	return func(next http.Handler) http.Handler {
		kept := record(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx := t.propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
			ctx, span := provider.startServer(ctx, knownMethod(r.Method, "HTTP"))
			if span == nil {
				kept.ServeHTTP(w, r.WithContext(ctx))
				return
			}
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}
}

// statusRecorder learns the status that a handler answers with.
type statusRecorder struct{ code int }

// wrap returns w with the same optional interfaces (Flusher, Hijacker, ReaderFrom, …) as before.
func (s *statusRecorder) wrap(w http.ResponseWriter) http.ResponseWriter {
	return httpsnoop.Wrap(w, httpsnoop.Hooks{
		WriteHeader: func(next httpsnoop.WriteHeaderFunc) httpsnoop.WriteHeaderFunc {
			return func(code int) { s.set(code); next(code) }
		},
		Write: func(next httpsnoop.WriteFunc) httpsnoop.WriteFunc {
			return func(b []byte) (int, error) { s.set(http.StatusOK); return next(b) }
		},
		WriteString: func(next httpsnoop.WriteStringFunc) httpsnoop.WriteStringFunc {
			return func(text string) (int, error) { s.set(http.StatusOK); return next(text) }
		},
		ReadFrom: func(next httpsnoop.ReadFromFunc) httpsnoop.ReadFromFunc {
			return func(src io.Reader) (int64, error) { s.set(http.StatusOK); return next(src) }
		},
		Flush: func(next httpsnoop.FlushFunc) httpsnoop.FlushFunc {
			return func() { s.set(http.StatusOK); next() }
		},
		FlushError: func(next httpsnoop.FlushErrorFunc) httpsnoop.FlushErrorFunc {
			return func() error { s.set(http.StatusOK); return next() }
		},
	})
}

// set keeps the first final status. 1xx are interim answers, but for 101, after which the connection is no
// longer HTTP (RFC 9110 section 15.2).
func (s *statusRecorder) set(code int) {
	interim := code >= 100 && code < 200 && code != http.StatusSwitchingProtocols
	if s.code == 0 && !interim {
		s.code = code
	}
}

// status returns the status, which is 200 if the handler wrote nothing.
func (s *statusRecorder) status() int {
	if s.code == 0 {
		return http.StatusOK
	}
	return s.code
}

// RouteUnmatched is the label route of requests that no registered pattern matched.
const RouteUnmatched = "unmatched"

// RoutePattern returns the pattern that [http.ServeMux] matched, without its method and host: "/orders/{id}" for
// "GET /orders/{id}". It returns "" if nothing matched.
func RoutePattern(r *http.Request) string {
	_, pattern, found := strings.Cut(r.Pattern, " ")
	if !found {
		pattern = r.Pattern
	}
	slash := strings.IndexByte(pattern, '/')
	if slash < 0 {
		return ""
	}
	return strings.TrimSpace(pattern[slash:])
}

// knownMethod returns the method if it is one of RFC 9110 section 9.3 or RFC 5789, else other. Methods are case
// sensitive.
func knownMethod(method, other string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	case "":
		return http.MethodGet
	default:
		return other
	}
}

// httpSpare is the number of label sets that refused ones fold into: one for each method and one for the others.
const httpSpare = 10

// httpMetrics records requests. Past the budget, a label set not seen before loses its route and status, so that totals
// stay right and memory stays bounded whatever route returns.
type httpMetrics struct {
	requests   metric.Int64Counter
	duration   metric.Float64Histogram
	series     *labels.Cache[httpSeries, *httpOptions]
	convention *httpConventions
}

// httpSeries is one label set; status 0 stands for those that share a value.
type httpSeries struct {
	method, route string
	status        int
}

// httpOptions holds the label set in the form each instrument takes it.
type httpOptions struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

func newHTTPMetrics(instruments *Instruments) (*httpMetrics, error) {
	requests, err := instruments.Int64Counter(catalogue.HTTPRequestsTotal)
	if err != nil {
		return nil, err
	}
	duration, err := instruments.Float64Histogram(catalogue.HTTPRequestDurationSeconds)
	if err != nil {
		return nil, err
	}
	convention, err := newHTTPConventions(instruments)
	if err != nil {
		return nil, err
	}
	budget := instruments.Budget(catalogue.HTTPRequestsTotal, httpSpare)
	admit := func(s httpSeries) bool { return budget.Admit(s.method, statusLabel(s.status), s.route) }
	return &httpMetrics{
		requests: requests, duration: duration, series: labels.NewCache(admit, newHTTPOptions), convention: convention,
	}, nil
}

// record counts one answered request and the time it took.
func (m *httpMetrics) record(ctx context.Context, method, route string, status int, took time.Duration) {
	if route == "" {
		route = RouteUnmatched
	}
	method = knownMethod(method, catalogue.LabelOther)
	options := m.series.GetOr(httpSeries{method, route, knownStatus(status)}, httpSeries{method, catalogue.LabelOther, 0})
	m.requests.Add(ctx, 1, options.add...)
	m.duration.Record(ctx, took.Seconds(), options.record...)
}

func newHTTPOptions(key httpSeries) *httpOptions {
	set := metric.WithAttributeSet(attribute.NewSet(
		attribute.String("method", key.method),
		attribute.String("route", key.route),
		attribute.String("status_code", statusLabel(key.status)),
	))
	return &httpOptions{add: []metric.AddOption{set}, record: []metric.RecordOption{set}}
}

// knownStatus returns the status, or 0 for one that HTTP has no class for (RFC 9110 section 15).
func knownStatus(status int) int {
	if status < 100 || status > 599 {
		return 0
	}
	return status
}

func statusLabel(status int) string {
	if status == 0 {
		return catalogue.LabelOther
	}
	return strconv.Itoa(status)
}

// httpConventions records http.server.request.duration. Past the budget, an attribute set not seen before keeps its
// method and scheme.
type httpConventions struct {
	duration metric.Float64Histogram
	series   *labels.Cache[httpConventionSeries, []metric.RecordOption]
}

// httpConventionSeries is one attribute set. Empty fields stand for attributes left out.
type httpConventionSeries struct {
	method, scheme, route, version string
	status                         int
	panicked                       bool
}

func newHTTPConventions(instruments *Instruments) (*httpConventions, error) {
	duration, err := instruments.Float64Histogram(catalogue.HTTPServerRequestDuration)
	if err != nil {
		return nil, err
	}
	budget := instruments.Budget(catalogue.HTTPServerRequestDuration, 2*httpSpare)
	admit := func(k httpConventionSeries) bool {
		return budget.Admit(k.method, k.scheme, k.version, strconv.Itoa(k.status), strconv.FormatBool(k.panicked), k.route)
	}
	build := func(k httpConventionSeries) []metric.RecordOption {
		return []metric.RecordOption{metric.WithAttributeSet(k.attributes())}
	}
	return &httpConventions{duration: duration, series: labels.NewCache(admit, build)}, nil
}

func (h *httpConventions) record(r *http.Request, route string, status int, panicked bool, took time.Duration) {
	key := httpConventionSeries{
		method: knownMethod(r.Method, catalogue.LabelOther), scheme: "http", route: route,
		version: httpVersion(r), status: knownStatus(status), panicked: panicked,
	}
	if r.TLS != nil {
		key.scheme = "https"
	}
	shared := httpConventionSeries{method: key.method, scheme: key.scheme, route: catalogue.LabelOther}
	h.duration.Record(r.Context(), took.Seconds(), h.series.GetOr(key, shared)...)
}

func (k httpConventionSeries) attributes() attribute.Set {
	list := []attribute.KeyValue{semconv.HTTPRequestMethodKey.String(k.method), semconv.URLScheme(k.scheme)}
	if k.route != "" {
		list = append(list, semconv.HTTPRoute(k.route))
	}
	if k.version != "" {
		list = append(list, semconv.NetworkProtocolVersion(k.version))
	}
	if k.status != 0 {
		list = append(list, semconv.HTTPResponseStatusCode(k.status))
	}
	switch {
	case k.panicked:
		list = append(list, semconv.ErrorTypeKey.String("panic"))
	case k.status >= http.StatusInternalServerError:
		list = append(list, semconv.ErrorTypeKey.String(strconv.Itoa(k.status)))
	}
	return attribute.NewSet(list...)
}

// httpVersion returns the protocol's version as the conventions write it, or "" for one that there is not.
func httpVersion(r *http.Request) string {
	switch [2]int{r.ProtoMajor, r.ProtoMinor} {
	case [2]int{1, 0}:
		return "1.0"
	case [2]int{1, 1}:
		return "1.1"
	case [2]int{2, 0}:
		return "2"
	case [2]int{3, 0}:
		return "3"
	default:
		return ""
	}
}
