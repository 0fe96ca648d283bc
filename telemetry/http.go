package telemetry

import (
	"net/http"
	"path"
	"strings"
	"time"

	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
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
// the panic goes on to whoever recovers it outside. A recovery inside decides the status itself.
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
