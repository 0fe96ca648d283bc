package telemetry_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// An answer names the trace that its request is in, with and without somebody who reads spans.
func TestTraceResponse(t *testing.T) {
	const parent = "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-"
	pattern := regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-(0[0-9a-f])$`)
	for name, tel := range map[string]*telemetry.Telemetry{
		"idle": setUpAll(t), "SDK": setUpAll(t, tracetest.NewSpanRecorder()),
	} {
		for brought, flags := range map[string]string{"": "01", parent + "01": "01", parent + "00": "00"} {
			t.Run(name+" "+brought, func(t *testing.T) {
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
			if told := answer.Header().Get(telemetry.TraceResponse) != ""; told != (test.spans > 0) {
				t.Errorf("a trace is named: %v", told)
			}
			if got := r.Metric(telemetry.HTTPRequestsTotal, nil); got != 1 {
				t.Errorf("counted %v, want 1", got)
			}
		})
	}
}
