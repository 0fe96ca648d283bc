package telemetry_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

// A whole service: its own metric declared as data, one route, /metrics, and one request.
func Example() {
	ctx := context.Background()
	tel, err := telemetry.Setup(ctx, telemetry.Config{
		Service:   "bakery",
		Version:   "1.2.0",
		LogWriter: io.Discard,
		Catalogue: telemetry.Catalogue{{
			Name: "loaves_total", Kind: telemetry.Counter, Help: "Loaves baked.",
			Labels: []string{"grain"}, Bound: "wheat and rye",
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = tel.Shutdown(ctx) }()

	loaves, err := tel.Instruments().Int64Counter("loaves_total")
	if err != nil {
		log.Fatal(err)
	}
	rye := metric.WithAttributeSet(attribute.NewSet(attribute.String("grain", "rye")))
	loaves.Add(ctx, 0, rye) // on the page before the first loaf

	mux := http.NewServeMux()
	mux.Handle("GET /metrics", tel.MetricsHandler())
	mux.HandleFunc("POST /loaves/{id}", func(w http.ResponseWriter, r *http.Request) {
		loaves.Add(r.Context(), 1, rye)
		tel.Logger().InfoContext(r.Context(), "baked") // carries trace_id and span_id
		w.WriteHeader(http.StatusCreated)
	})
	server := httptest.NewServer(telemetry.HTTPMiddleware(tel, nil)(mux))
	defer server.Close()

	if answer, err := http.Post(server.URL+"/loaves/7", "", nil); err == nil {
		_ = answer.Body.Close()
	}
	answer, err := http.Get(server.URL + "/metrics")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	page, err := io.ReadAll(answer.Body)
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "loaves_total") || strings.HasPrefix(line, "http_requests_total") {
			fmt.Print(line)
		}
	}
	// Output:
	// http_requests_total{method="POST",route="/loaves/{id}",service="bakery",status_code="201"} 1
	// loaves_total{grain="rye",service="bakery"} 1
}

// The middleware with its options: OpenTelemetry's own metric of requests beside the documented ones, and no traces of a
// monitor with other requests than [telemetry.IsProbe] expects.
func ExampleHTTPMiddleware() {
	ctx := context.Background()
	tel, err := telemetry.Setup(ctx, telemetry.Config{Service: "bakery", LogWriter: io.Discard})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = tel.Shutdown(ctx) }()

	quiet := func(r *http.Request) bool { return r.URL.Path == "/ping" || telemetry.IsProbe(r) }
	handler := telemetry.HTTPMiddleware(tel, nil, telemetry.WithConventions(), telemetry.WithoutTraces(quiet))(http.NotFoundHandler())
	for _, path := range []string{"/ping", "/loaves"} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		fmt.Printf("%s has a trace: %v\n", path, answer.Header().Get(telemetry.TraceResponse) != "")
	}
	// Output:
	// /ping has a trace: false
	// /loaves has a trace: true
}

// The reference of a service's own metrics, as a part of a document. [catalogue.Sections] are the library's parts.
func ExampleDocument() {
	own := catalogue.Section{Title: "The bakery", Catalogue: telemetry.Catalogue{{
		Name: "loaves_total", Kind: telemetry.Counter, Help: "Loaves baked.",
		Labels: []string{"grain"}, Bound: "wheat and rye", MaxSeries: 2,
	}}}
	text := catalogue.Document(append(catalogue.Sections(), own)...)
	_, bakery, _ := strings.Cut(text, "## The bakery")
	fmt.Print("## The bakery" + bakery)
	// Output:
	// ## The bakery
	//
	// | name | type | labels | buckets | unit | bound | series | help |
	// | --- | --- | --- | --- | --- | --- | --- | --- |
	// | `loaves_total` | counter | grain, service |  |  | wheat and rye | 2 | Loaves baked. |
}
