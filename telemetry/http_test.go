package telemetry_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// routes is a server with one handler of each behaviour that the middleware must distinguish.
func routes() http.Handler {
	mux := http.NewServeMux()
	answer := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	mux.HandleFunc("GET /orders/{id}/status", answer(http.StatusOK))
	mux.HandleFunc("POST /orders", answer(http.StatusCreated))
	mux.HandleFunc("example.org/host", answer(http.StatusOK))
	mux.HandleFunc("/tree/{id}/", answer(http.StatusOK))
	mux.HandleFunc("/silent", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/text", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	mux.HandleFunc("/flush", func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		w.WriteHeader(http.StatusTeapot)
	})
	mux.HandleFunc("/copy", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, strings.NewReader("ok"))
		w.WriteHeader(http.StatusTeapot)
	})
	mux.HandleFunc("/early", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusAccepted)
	})
	mux.HandleFunc("/twice", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		w.WriteHeader(http.StatusOK)
	})
	mux.HandleFunc("/panic/{id}", func(http.ResponseWriter, *http.Request) { panic("card 4111") })
	mux.HandleFunc("/late/{id}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok")
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(len(r.PathValue("code"))) })
	return mux
}

// request makes a request that net/http/httptest would refuse to make.
func request(method, path string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Method, r.URL.Path, r.RequestURI = method, path, path
	return r
}

// ask serves one request and returns what the handler panicked with, if it did.
func ask(h http.Handler, r *http.Request) (panicked any) {
	defer func() { panicked = recover() }()
	h.ServeHTTP(httptest.NewRecorder(), r)
	return nil
}

func TestHTTPMiddlewareLabels(t *testing.T) {
	tests := []struct {
		name, method, path    string
		host                  string
		labelMethod           string
		route, status, span   string
		panics, spanIsFailure bool
	}{
		{name: "pattern", method: "GET", path: "/orders/o-1/status", route: "/orders/{id}/status", status: "200", span: "GET /orders/{id}/status"},
		{name: "post", method: "POST", path: "/orders", route: "/orders", status: "201", span: "POST /orders"},
		{name: "pattern with host", method: "GET", path: "/host", host: "example.org", route: "/host", status: "200", span: "GET /host"},
		{name: "no route", method: "GET", path: "/nowhere", route: "unmatched", status: "404", span: "GET"},
		{name: "wrong method", method: "DELETE", path: "/orders", route: "unmatched", status: "405", span: "DELETE"},
		{name: "unknown method", method: "BREW", path: "/silent", labelMethod: "_OTHER", route: "/silent", status: "200", span: "HTTP /silent"},
		{name: "redirect", method: "GET", path: "/tree/1", route: "/tree/{id}/", status: "307", span: "GET /tree/{id}/"},
		{name: "subtree itself", method: "GET", path: "/tree/1/", route: "/tree/{id}/", status: "200", span: "GET /tree/{id}/"},
		{name: "redirect of CONNECT", method: "CONNECT", path: "/tree/secret", route: "unmatched", status: "307", span: "CONNECT"},
		{name: "nothing written", method: "GET", path: "/silent", route: "/silent", status: "200", span: "GET /silent"},
		{name: "body only", method: "GET", path: "/text", route: "/text", status: "200", span: "GET /text"},
		{name: "flush first", method: "GET", path: "/flush", route: "/flush", status: "200", span: "GET /flush"},
		{name: "copied body", method: "GET", path: "/copy", route: "/copy", status: "200", span: "GET /copy"},
		{name: "interim answer", method: "GET", path: "/early", route: "/early", status: "202", span: "GET /early"},
		{name: "two answers", method: "GET", path: "/twice", route: "/twice", status: "404", span: "GET /twice"},
		{name: "panic", method: "GET", path: "/panic/1", route: "/panic/{id}", status: "500", span: "GET /panic/{id}", panics: true, spanIsFailure: true},
		{name: "panic after answer", method: "GET", path: "/late/1", route: "/late/{id}", status: "500", span: "GET /late/{id}", panics: true, spanIsFailure: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := telemetrytest.New(t, "shop", nil)
			req := request(test.method, test.path)
			if test.host != "" {
				req.Host = test.host
			}
			panicked := ask(telemetry.HTTPMiddleware(r.Telemetry, nil)(routes()), req)
			if (panicked != nil) != test.panics {
				t.Errorf("the handler's panic came out as %v", panicked)
			}
			method := test.labelMethod
			if method == "" {
				method = test.method
			}
			labels := map[string]string{"method": method, "route": test.route, "status_code": test.status, "service": "shop"}
			if got := r.Metric(catalogue.HTTPRequestsTotal, labels); got != 1 {
				t.Errorf("counted %v, want 1", got)
			}
			if got := r.Metric(catalogue.HTTPRequestDurationSeconds, labels); got != 1 {
				t.Errorf("timed %v, want 1", got)
			}
			if n := r.Series(catalogue.HTTPRequestsTotal, nil); n != 1 {
				t.Errorf("%d series, want 1", n)
			}
			span := r.Span(test.span)
			if span.SpanKind != trace.SpanKindServer || (span.Status.Code == codes.Error) != test.spanIsFailure {
				t.Errorf("span of kind %v with status %+v", span.SpanKind, span.Status)
			}
			named := slices.Contains(span.Attributes, attribute.String("http.route", test.route))
			if named != (test.route != telemetry.RouteUnmatched) {
				t.Errorf("the span's attributes %v, want http.route %s where there is one", span.Attributes, test.route)
			}
			r.CheckCatalogue()
		})
	}
}

func TestHTTPPanicTextStaysOutOfTheSpan(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	if ask(telemetry.HTTPMiddleware(r.Telemetry, nil)(routes()), request("GET", "/panic/1")) != "card 4111" {
		t.Error("the panic's value is lost")
	}
	span := r.Span("GET /panic/{id}")
	if len(span.Events) != 0 || span.Status.Description != "panic" {
		t.Errorf("span has events %v and status %+v", span.Events, span.Status)
	}
	if !slices.Contains(span.Attributes, attribute.Int("http.response.status_code", 500)) {
		t.Errorf("span has no status code 500: %v", span.Attributes)
	}
}

func TestHTTPOwnRouteFunction(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	served := false
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served = true })
	h := telemetry.HTTPMiddleware(r.Telemetry, func(*http.Request) string {
		if !served {
			t.Error("route was called before the handler ran")
		}
		return "/mine"
	})(next)
	ask(h, request("GET", "/x"))
	if got := r.Metric(catalogue.HTTPRequestsTotal, map[string]string{"route": "/mine"}); got != 1 {
		t.Errorf("counted %v, want 1", got)
	}
}

// chosen is another text for each i, as a client might choose it. Some are longer than a label's value may be.
func chosen(i int) string {
	if i%100 == 99 {
		return fmt.Sprint(i, strings.Repeat("x", 2000))
	}
	return fmt.Sprint(i, strings.Repeat("x", i%50))
}

// hostile makes n requests that differ in method, path and status as far as they can.
func hostile(h http.Handler, n int) {
	for i := range n {
		suffix := chosen(i)
		ask(h, request("M"+suffix, "/"+suffix))
		ask(h, request(http.MethodGet, "/orders/"+suffix+"/status"))
		ask(h, request(http.MethodConnect, "/tree/"+suffix))
		ask(h, request(http.MethodGet, "/status/"+strings.Repeat("9", i)))
	}
}

func TestHostileRequestsKeepSeriesBounded(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	h := telemetry.HTTPMiddleware(r.Telemetry, nil)(routes())
	const n = 1200
	hostile(h, n)
	if got := r.Metric(catalogue.HTTPRequestsTotal, nil); got != 4*n {
		t.Errorf("counted %v requests, want %d", got, 4*n)
	}
	// 500 codes of /status/{code}, _OTHER, and a few for the rest: the registered routes bound the series.
	if got := r.Series(catalogue.HTTPRequestsTotal, nil); got > 520 {
		t.Errorf("%d series", got)
	}
	// net/http panics for codes outside 100 to 999, which counts as 500: those from 600 on are left to fold.
	if got := r.Metric(catalogue.HTTPRequestsTotal, map[string]string{"status_code": "_OTHER"}); got != 400 {
		t.Errorf("%v requests have a folded status, want 400", got)
	}
	r.CheckCatalogue()
}

func TestUnboundedRouteFunctionKeepsSeriesBounded(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	raw := func(r *http.Request) string { return r.URL.Path }
	h := telemetry.HTTPMiddleware(r.Telemetry, raw)(http.NotFoundHandler())
	const n = 2100
	for i := range n {
		ask(h, request(http.MethodGet, "/"+chosen(i)))
	}
	if got := r.Series(catalogue.HTTPRequestsTotal, nil); got != 1001 {
		t.Errorf("%d series, want the first 1,000 and one for the rest", got)
	}
	if got := r.Metric(catalogue.HTTPRequestsTotal, map[string]string{"method": "GET"}); got != n {
		t.Errorf("counted %v, want %d", got, n)
	}
	r.CheckCatalogue()
}

func TestHTTPOverTheWire(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	server := httptest.NewServer(telemetry.HTTPMiddleware(r.Telemetry, nil)(routes()))
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/orders/o-1/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	req.Header.Set("traceparent", "00-"+traceID+"-00f067aa0ba902b7-01")
	answer, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	server.Close() // waits for the handler, and with it for the span
	if got := r.Span("GET /orders/{id}/status").SpanContext.TraceID().String(); got != traceID {
		t.Errorf("the span is in trace %s, want the caller's", got)
	}
	page := r.OpenMetricsPage()
	for _, name := range []string{"http_requests_total", "http_request_duration_seconds_bucket"} {
		exemplar := regexp.MustCompile(name + `{.*} 1(?:\.0)? # {[^}]*trace_id="` + traceID + `"[^}]*}`)
		if !exemplar.MatchString(page) {
			t.Errorf("no exemplar of %s with the trace's id in:\n%s", name, page)
		}
	}
	if strings.Contains(r.Page(), traceID) {
		t.Error("the text format has no exemplars, but the page shows one")
	}
	if !bytes.HasSuffix([]byte(page), []byte("# EOF\n")) {
		t.Error("the OpenMetrics page has no end")
	}
}

func TestHTTPDurationIsTheHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := telemetrytest.New(t, "shop", nil)
		ask(telemetry.HTTPMiddleware(r.Telemetry, nil)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			<-time.After(1500 * time.Millisecond) // the bubble's
		})), request("GET", "/"))
		if got := r.HistogramSum(catalogue.HTTPRequestDurationSeconds, nil); got != 1.5 {
			t.Errorf("recorded %v s for a handler that took 1.5 s", got)
		}
	})
}

// An answer names the trace that its request is in, with and without somebody who reads spans.
func TestTraceResponse(t *testing.T) {
	const parent = "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-"
	pattern := regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-(0[0-9a-f])$`)
	for name, tel := range map[string]*telemetry.Telemetry{
		"idle": setUpAll(t), "SDK": setUpAll(t, tracetest.NewSpanRecorder()),
	} {
		for brought, flags := range map[string]string{"": "01", parent + "01": "01", parent + "00": "00"} {
			t.Run(name+" "+brought, func(t *testing.T) {
				if brought == "" && name == "idle" {
					flags = "00" // nobody has the trace
				}
				var seen trace.SpanContext
				handler := telemetry.HTTPMiddleware(tel, nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					seen = trace.SpanContextFromContext(r.Context())
					w.WriteHeader(http.StatusBadRequest)
				}))
				r, answer := httptest.NewRequest(http.MethodPost, "/orders", nil), httptest.NewRecorder()
				if brought != "" {
					r.Header.Set("traceparent", brought)
				}
				handler.ServeHTTP(answer, r)
				got := pattern.FindStringSubmatch(answer.Header().Get(telemetry.TraceResponse))
				if got == nil || got[1] != seen.TraceID().String() || got[2] != seen.SpanID().String() || got[3] != flags {
					t.Fatalf("traceresponse %q, want the handler's span %v with flags %s",
						answer.Header().Get(telemetry.TraceResponse), seen, flags)
				}
				if brought != "" && got[1] != brought[3:35] {
					t.Errorf("traceresponse %v, want the caller's trace", got)
				}
			})
		}
	}
}

// Monitors' requests are measured and start no trace, unless they bring one or the service wants it so.
func TestMonitorsStartNoTrace(t *testing.T) {
	const sampled, unsampled = "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01", "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-00"
	all := []telemetry.HTTPOption{telemetry.WithoutTraces(nil)}
	tests := []struct {
		name, method, path, parent string
		options                    []telemetry.HTTPOption
		spans                      int
	}{
		{name: "metrics", method: "GET", path: "/metrics"},
		{name: "health", method: "GET", path: "/health"},
		{name: "ready", method: "GET", path: "/health/ready"},
		{name: "head", method: "HEAD", path: "/health"},
		{name: "kubernetes", method: "GET", path: "/readyz"},
		{name: "with a sampled trace", method: "GET", path: "/metrics", parent: sampled, spans: 1},
		{name: "with a trace that is not sampled", method: "GET", path: "/metrics", parent: unsampled},
		{name: "another method", method: "POST", path: "/metrics", spans: 1},
		{name: "another path", method: "GET", path: "/metrics/x", spans: 1},
		{name: "a longer word", method: "GET", path: "/healthcare", spans: 1},
		{name: "a user's", method: "GET", path: "/orders", spans: 1},
		{name: "all are traced", method: "GET", path: "/metrics", options: all, spans: 1},
		{name: "others are not", method: "GET", path: "/orders", options: []telemetry.HTTPOption{
			telemetry.WithoutTraces(func(r *http.Request) bool { return r.URL.Path == "/orders" }),
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := telemetrytest.New(t, "shop", nil)
			handler := telemetry.HTTPMiddleware(r.Telemetry, nil, test.options...)(http.NotFoundHandler())
			req, answer := httptest.NewRequest(test.method, test.path, nil), httptest.NewRecorder()
			if test.parent != "" {
				req.Header.Set("traceparent", test.parent)
			}
			handler.ServeHTTP(answer, req)
			if got := len(r.Spans()); got != test.spans {
				t.Errorf("%d spans, want %d", got, test.spans)
			}
			if named := answer.Header().Get(telemetry.TraceResponse) != ""; named != (test.spans > 0) {
				t.Errorf("a trace is named: %v", named)
			}
			if got := r.Metric(catalogue.HTTPRequestsTotal, nil); got != 1 {
				t.Errorf("counted %v, want 1", got)
			}
		})
	}
}
