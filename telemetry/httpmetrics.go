package telemetry

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/vigie-dev/vigie/telemetry/internal/labels"
)

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
	requests, err := instruments.Int64Counter(HTTPRequestsTotal)
	if err != nil {
		return nil, err
	}
	duration, err := instruments.Float64Histogram(HTTPRequestDurationSeconds)
	if err != nil {
		return nil, err
	}
	convention, err := newHTTPConventions(instruments)
	if err != nil {
		return nil, err
	}
	budget := instruments.Budget(HTTPRequestsTotal, httpSpare)
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
	method = knownMethod(method, LabelOther)
	options := m.series.GetOr(httpSeries{method, route, knownStatus(status)}, httpSeries{method, LabelOther, 0})
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
		return LabelOther
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
	duration, err := instruments.Float64Histogram(HTTPServerRequestDuration)
	if err != nil {
		return nil, err
	}
	budget := instruments.Budget(HTTPServerRequestDuration, 2*httpSpare)
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
		method: knownMethod(r.Method, LabelOther), scheme: "http", route: route,
		version: httpVersion(r), status: knownStatus(status), panicked: panicked,
	}
	if r.TLS != nil {
		key.scheme = "https"
	}
	shared := httpConventionSeries{method: key.method, scheme: key.scheme, route: LabelOther}
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
