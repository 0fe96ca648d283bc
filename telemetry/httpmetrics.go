package telemetry

import (
	"context"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// maxHTTPSeries bounds the label sets of the HTTP metrics. It stays clear of the 2,000 at which the SDK would
// fold series into one without labels.
const maxHTTPSeries = 1000

// httpMetrics records requests. It keeps the options of every label set seen, so that a request allocates none.
type httpMetrics struct {
	requests metric.Int64Counter
	duration metric.Float64Histogram
	mu       sync.RWMutex
	series   map[httpSeries]*httpOptions
}

// httpSeries is one label set.
type httpSeries struct{ method, route, status string }

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
	return &httpMetrics{requests: requests, duration: duration, series: make(map[httpSeries]*httpOptions)}, nil
}

// record counts one answered request and the time it took.
func (m *httpMetrics) record(ctx context.Context, method, route string, status int, took time.Duration) {
	if route == "" {
		route = RouteUnmatched
	}
	options := m.options(httpSeries{knownMethod(method, LabelOther), route, statusLabel(status)})
	m.requests.Add(ctx, 1, options.add...)
	m.duration.Record(ctx, took.Seconds(), options.record...)
}

// options returns the options of a label set. Past maxHTTPSeries, a set not seen before loses its route and
// status, so that totals stay right and memory stays bounded whatever route returns.
func (m *httpMetrics) options(key httpSeries) *httpOptions {
	m.mu.RLock()
	found, full := m.series[key], len(m.series) >= maxHTTPSeries
	m.mu.RUnlock()
	if found != nil {
		return found
	}
	if full {
		key.route, key.status = LabelOther, LabelOther
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if found = m.series[key]; found == nil {
		found = newHTTPOptions(key)
		m.series[key] = found
	}
	return found
}

func newHTTPOptions(key httpSeries) *httpOptions {
	set := metric.WithAttributeSet(attribute.NewSet(
		attribute.String("method", key.method),
		attribute.String("route", key.route),
		attribute.String("status_code", key.status),
	))
	return &httpOptions{add: []metric.AddOption{set}, record: []metric.RecordOption{set}}
}

// statusLabel returns the status as a label value: what HTTP has no class for (RFC 9110 section 15) folds.
func statusLabel(status int) string {
	if status < 100 || status > 599 {
		return LabelOther
	}
	return strconv.Itoa(status)
}
