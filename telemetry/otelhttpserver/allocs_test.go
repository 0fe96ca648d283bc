package otelhttpserver

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

// The options of each label set are kept: measuring a request makes no new ones.
func TestRecordingARequestAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	reader := sdkmetric.NewManualReader()
	all := append(catalogue.Common(), catalogue.Optional()...)
	m, err := newMetrics(catalogue.NewInstruments(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), all), true)
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest(http.MethodGet, "/orders/1", nil)
	recorded := uint64(0)
	allocated := testing.AllocsPerRun(1000, func() {
		recorded++
		m.record(req, "/orders/{id}", http.StatusOK, false, time.Millisecond)
	})
	if allocated != 0 {
		t.Errorf("%v allocations for one request", allocated)
	}
	for _, name := range []string{"http.request.duration", "http.server.request.duration"} {
		if got := measurements(t, reader, name); got != recorded {
			t.Errorf("%s has %d measurements, want %d", name, got, recorded)
		}
	}
}

// measurements returns how many a histogram has.
func measurements(t *testing.T, reader sdkmetric.Reader, name string) (n uint64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if histogram, ok := m.Data.(metricdata.Histogram[float64]); ok && m.Name == name {
				for _, p := range histogram.DataPoints {
					n += p.Count
				}
			}
		}
	}
	return n
}
