// Command server is an HTTP server at a public edge, whose application has Prometheus metrics already. It asks itself once and
// prints what its page says of that.
//
//	go run ./examples/server
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/otelhttpserver"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	registry := prometheus.NewRegistry() // or prometheus.DefaultRegisterer.(*prometheus.Registry)
	baskets := prometheus.NewCounter(prometheus.CounterOpts{Name: "baskets_total", Help: "Baskets that were filled."})
	registry.MustRegister(baskets)

	t, err := telemetry.Setup(ctx, telemetry.Config{Service: "server", Registry: registry})
	if err != nil {
		return err
	}
	defer func() { _ = t.Shutdown(ctx) }()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /baskets/{id}", func(w http.ResponseWriter, _ *http.Request) {
		baskets.Inc()
		w.WriteHeader(http.StatusCreated)
	})
	mux.Handle("GET /metrics", t.MetricsHandler())
	// Strangers learn no trace, and their baggage ends here.
	handler := telemetry.HTTPMiddleware(t, nil, otelhttpserver.WithoutTraceResponse())(mux)

	ask := func(method, path string) *httptest.ResponseRecorder { // a client, in place of http.Server
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, method, path, nil))
		return answer
	}
	ask(http.MethodPost, "/baskets/7")
	for line := range strings.Lines(ask(http.MethodGet, "/metrics").Body.String()) {
		if strings.HasPrefix(line, "baskets_total") || strings.HasPrefix(line, "http_requests_total") {
			fmt.Print(line)
		}
	}
	return nil
}
