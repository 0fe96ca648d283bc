package telemetry

import (
	"net/http"

	"github.com/vigie-dev/vigie/telemetry/otelhttpserver"
)

// HTTPMiddleware is [otelhttpserver.New] with what [Setup] made: every request gets a server span and is counted and timed
// in http_requests_total and http_request_duration_seconds, and its answer names the span in the header [TraceResponse].
//
// route returns a request's registered pattern without its method, or "" if none matched; nil means [RoutePattern]. See
// [otelhttpserver.WithRoute]. Put an [http.ServeMux] directly inside: it writes the pattern into the request that it is
// given. Baggage of a request ends here unless [WithBaggage] is given; then at most 8192 bytes of it travel on (W3C Baggage).
//
// It panics if t or an option is nil.
func HTTPMiddleware(
	t *Telemetry, route func(*http.Request) string, options ...HTTPOption,
) func(http.Handler) http.Handler {
	all := append([]HTTPOption{otelhttpserver.WithTelemetry(t), otelhttpserver.WithRoute(route)}, options...)
	middleware, err := otelhttpserver.New(all...)
	if err != nil {
		panic("telemetry: HTTPMiddleware: " + err.Error())
	}
	return middleware
}

// HTTPOption changes what [HTTPMiddleware] does.
type HTTPOption = otelhttpserver.Option

// WithConventions is [otelhttpserver.WithConventions].
func WithConventions() HTTPOption { return otelhttpserver.WithConventions() }

// WithBaggage is [otelhttpserver.WithBaggage].
func WithBaggage() HTTPOption { return otelhttpserver.WithBaggage() }

// WithoutTraces is [otelhttpserver.WithoutTraces].
func WithoutTraces(quiet func(*http.Request) bool) HTTPOption {
	return otelhttpserver.WithoutTraces(quiet)
}

// IsProbe is [otelhttpserver.IsProbe].
func IsProbe(r *http.Request) bool { return otelhttpserver.IsProbe(r) }

// RoutePattern is [otelhttpserver.RoutePattern].
func RoutePattern(r *http.Request) string { return otelhttpserver.RoutePattern(r) }

const (
	// TraceResponse is [otelhttpserver.TraceResponse].
	TraceResponse = otelhttpserver.TraceResponse
	// RouteUnmatched is [otelhttpserver.RouteUnmatched].
	RouteUnmatched = otelhttpserver.RouteUnmatched
)
