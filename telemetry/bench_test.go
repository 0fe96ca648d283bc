package telemetry_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func BenchmarkHTTP(b *testing.B) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	b.Setenv("OTEL_TRACES_SAMPLER", "always_off") // the recorder would keep every span
	r := telemetrytest.New(b, "shop", nil)
	for name, handler := range map[string]http.Handler{"bare": mux, "instrumented": telemetry.HTTPMiddleware(r.Telemetry, nil)(mux)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/orders/o-1", nil))
			}
		})
	}
}

// withSeries returns a service with about n series, as Prometheus counts them: a histogram has one for each bucket.
func withSeries(t testing.TB, n int) *telemetrytest.Recorder {
	t.Helper()
	r := telemetrytest.New(t, "shop", nil)
	h := telemetry.HTTPMiddleware(r.Telemetry, nil)(routes())
	for code := 200; code < 600 && seriesOn(r) < n; code++ {
		ask(h, request(http.MethodGet, "/status/"+strings.Repeat("9", code)))
	}
	if got := seriesOn(r); got < n || got > n+20 {
		t.Fatalf("%d series, want %d", got, n)
	}
	return r
}

// seriesOn counts the page's samples.
func seriesOn(r *telemetrytest.Recorder) int {
	page := r.Page()
	return strings.Count(page, "\n") - strings.Count(page, "# ")
}

// BenchmarkScrape is one page of 2,000 series, in both formats. cpu-ns/op has what is done in other goroutines too,
// garbage collection included.
func BenchmarkScrape(b *testing.B) {
	r := withSeries(b, 2000)
	for name, accept := range map[string]string{"text": "", "openmetrics": "application/openmetrics-text; version=1.0.0"} {
		b.Run(name, func(b *testing.B) {
			w, req := discarded{http.Header{}}, request(http.MethodGet, "/metrics")
			req.Header.Set("Accept", accept)
			before := cpuTime()
			b.ReportAllocs()
			for b.Loop() {
				r.MetricsHandler().ServeHTTP(w, req)
			}
			b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(seriesOn(r)), "series")
		})
	}
}

// discarded is an answer that nobody reads.
type discarded struct{ header http.Header }

func (d discarded) Header() http.Header         { return d.header }
func (d discarded) Write(b []byte) (int, error) { return len(b), nil }
func (d discarded) WriteHeader(int)             {}
