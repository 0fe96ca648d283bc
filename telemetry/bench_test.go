package telemetry_test

import (
	"net/http"
	"net/http/httptest"
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

func BenchmarkScrape(b *testing.B) {
	r := telemetrytest.New(b, "shop", nil)
	hostile(telemetry.HTTPMiddleware(r.Telemetry, nil)(routes()), 200)
	b.ReportAllocs()
	for b.Loop() {
		r.Page()
	}
}
