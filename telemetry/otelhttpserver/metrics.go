package otelhttpserver

import (
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/internal/labels"
)

// spare is the number of label sets that refused ones fold into: one for each method and one for the others.
const spare = 10

// metrics records requests. Past the budget, a label set not seen before loses its route and status, so that totals
// stay right and memory stays bounded whatever route returns.
type metrics struct {
	requests   metric.Int64Counter
	duration   metric.Float64Histogram
	series     *labels.Cache[series, *seriesOptions]
	convention *conventions // nil without the option
}

// series is one label set; status 0 stands for those that share a value.
type series struct {
	method, route string
	status        int
}

// seriesOptions holds the label set in the form each instrument takes it.
type seriesOptions struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

func newMetrics(instruments *catalogue.Instruments, conventions bool) (*metrics, error) {
	requests, err := instruments.Int64Counter(catalogue.HTTPRequestsTotal)
	if err != nil {
		return nil, err
	}
	duration, err := instruments.Float64Histogram(catalogue.HTTPRequestDurationSeconds)
	if err != nil {
		return nil, err
	}
	budget := instruments.Budget(catalogue.HTTPRequestsTotal, spare)
	admit := func(s series) bool { return budget.Admit(s.method, statusLabel(s.status), s.route) }
	m := &metrics{requests: requests, duration: duration, series: labels.NewCache(admit, newSeriesOptions)}
	if conventions {
		m.convention, err = newConventions(instruments)
	}
	return m, err
}

// record counts one answered request and the time it took.
func (m *metrics) record(r *http.Request, route string, status int, panicked bool, took time.Duration) {
	if m.convention != nil {
		m.convention.record(r, route, status, panicked, took)
	}
	if route == "" {
		route = RouteUnmatched
	}
	method := knownMethod(r.Method, catalogue.LabelOther)
	options := m.series.GetOr(series{method, route, knownStatus(status)}, series{method, catalogue.LabelOther, 0})
	m.requests.Add(r.Context(), 1, options.add...)
	m.duration.Record(r.Context(), took.Seconds(), options.record...)
}

func newSeriesOptions(key series) *seriesOptions {
	set := metric.WithAttributeSet(attribute.NewSet(
		attribute.String("method", key.method),
		attribute.String("route", key.route),
		attribute.String("status_code", statusLabel(key.status)),
	))
	return &seriesOptions{add: []metric.AddOption{set}, record: []metric.RecordOption{set}}
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

// conventions records http.server.request.duration. Past the budget, an attribute set not seen before keeps its
// method and scheme.
type conventions struct {
	duration metric.Float64Histogram
	series   *labels.Cache[conventionSeries, []metric.RecordOption]
}

// conventionSeries is one attribute set. Empty fields stand for attributes left out.
type conventionSeries struct {
	method, scheme, route, version string
	status                         int
	panicked                       bool
}

func newConventions(instruments *catalogue.Instruments) (*conventions, error) {
	duration, err := instruments.Float64Histogram(catalogue.HTTPServerRequestDuration)
	if err != nil {
		return nil, err
	}
	budget := instruments.Budget(catalogue.HTTPServerRequestDuration, 2*spare)
	admit := func(k conventionSeries) bool {
		return budget.Admit(k.method, k.scheme, k.version, strconv.Itoa(k.status), strconv.FormatBool(k.panicked), k.route)
	}
	build := func(k conventionSeries) []metric.RecordOption {
		return []metric.RecordOption{metric.WithAttributeSet(k.attributes())}
	}
	return &conventions{duration: duration, series: labels.NewCache(admit, build)}, nil
}

func (h *conventions) record(r *http.Request, route string, status int, panicked bool, took time.Duration) {
	key := conventionSeries{
		method: knownMethod(r.Method, catalogue.LabelOther), scheme: "http", route: route,
		version: httpVersion(r), status: knownStatus(status), panicked: panicked,
	}
	if r.TLS != nil {
		key.scheme = "https"
	}
	shared := conventionSeries{method: key.method, scheme: key.scheme, route: catalogue.LabelOther}
	h.duration.Record(r.Context(), took.Seconds(), h.series.GetOr(key, shared)...)
}

func (k conventionSeries) attributes() attribute.Set {
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
