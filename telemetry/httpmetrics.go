package telemetry

import (
	"context"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

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
