package telemetry_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func TestHTTPConventionsAreOffByDefault(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	ask(telemetry.HTTPMiddleware(r.Telemetry, nil)(routes()), request("GET", "/early"))
	if n := r.Series(catalogue.HTTPServerRequestDuration, nil); n != 0 {
		t.Errorf("%d series without the option", n)
	}
}

func TestHTTPConventions(t *testing.T) {
	tests := []struct {
		name, method, path string
		change             func(*http.Request)
		want               map[string]string
	}{
		{
			name: "answer", method: "GET", path: "/early",
			want: map[string]string{
				"http_request_method": "GET", "url_scheme": "http", "http_route": "/early",
				"http_response_status_code": "202", "network_protocol_version": "1.1",
			},
		},
		{
			name: "no route", method: "GET", path: "/nowhere",
			want: map[string]string{
				"http_request_method": "GET", "url_scheme": "http",
				"http_response_status_code": "404", "network_protocol_version": "1.1",
			},
		},
		{
			name: "error over HTTP/2 and TLS", method: "GET", path: "/status/" + strings.Repeat("9", 503),
			change: func(r *http.Request) { r.ProtoMajor, r.ProtoMinor, r.TLS = 2, 0, &tls.ConnectionState{} },
			want: map[string]string{
				"http_request_method": "GET", "url_scheme": "https", "http_route": "/status/{code}", "error_type": "503",
				"http_response_status_code": "503", "network_protocol_version": "2",
			},
		},
		{
			name: "panic", method: "GET", path: "/panic/1",
			want: map[string]string{
				"http_request_method": "GET", "url_scheme": "http", "http_route": "/panic/{id}", "error_type": "panic",
				"http_response_status_code": "500", "network_protocol_version": "1.1",
			},
		},
		{
			name: "unknown method and version", method: "BREW", path: "/early",
			change: func(r *http.Request) { r.ProtoMajor, r.ProtoMinor = 7, 3 },
			want: map[string]string{
				"http_request_method": "_OTHER", "url_scheme": "http", "http_route": "/early", "http_response_status_code": "202",
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := telemetrytest.New(t, "shop", nil)
			req := request(test.method, test.path)
			if test.change != nil {
				test.change(req)
			}
			ask(telemetry.HTTPMiddleware(r.Telemetry, nil, telemetry.WithConventions())(routes()), req)
			test.want["service"] = "shop"
			if got := labelsOf(t, r, catalogue.HTTPServerRequestDuration); fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("attributes %v, want %v", got, test.want)
			}
			if r.Metric(catalogue.HTTPServerRequestDuration, nil) != 1 || r.Metric(catalogue.HTTPRequestDurationSeconds, nil) != 1 {
				t.Error("the convention's metric and the documented one are to be recorded once each")
			}
			r.CheckCatalogue()
		})
	}
}

// labelsOf returns the labels of the metric's only series.
func labelsOf(t *testing.T, r *telemetrytest.Recorder, name string) map[string]string {
	t.Helper()
	families, err := r.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	labels := make(map[string]string)
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		if len(family.GetMetric()) != 1 {
			t.Fatalf("%d series of %s, want 1", len(family.GetMetric()), name)
		}
		for _, pair := range family.GetMetric()[0].GetLabel() {
			labels[pair.GetName()] = pair.GetValue()
		}
	}
	return labels
}

// TestHostileRequestsStayWithinTheCatalogue drives what a client can choose, and a route function that is as wrong
// as can be, and checks every metric against the series that the catalogue states.
func TestHostileRequestsStayWithinTheCatalogue(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	raw := func(r *http.Request) string { return r.URL.Path }
	mapped := telemetry.HTTPMiddleware(r.Telemetry, nil, telemetry.WithConventions())(routes())
	unbounded := telemetry.HTTPMiddleware(r.Telemetry, raw, telemetry.WithConventions())(routes())
	const n = 2100 // more than any limit, the SDK's 2,000 too
	for i := range n {
		for j, h := range []http.Handler{mapped, unbounded} {
			req := request([]string{"GET", "POST", fmt.Sprint("M", i)}[i%3], "/status/"+strings.Repeat("9", i%700))
			req.ProtoMajor, req.ProtoMinor = i%7, i%3
			if i%2 == j {
				req.TLS = &tls.ConnectionState{}
			}
			switch {
			case i%11 == 0:
				req.URL.Path = "/\xff\xfe" + chosen(i)
			case i%4 != 0 && j == 1:
				req.URL.Path = "/" + chosen(i)
			}
			ask(h, req)
		}
	}
	if got := r.Metric(catalogue.HTTPServerRequestDuration, nil); got != 2*n {
		t.Errorf("recorded %v requests, want %d", got, 2*n)
	}
	if got := r.Metric(catalogue.HTTPRequestsTotal, nil); got != 2*n {
		t.Errorf("counted %v requests, want %d", got, 2*n)
	}
	r.CheckCatalogue()
	if strings.Contains(r.Page(), "otel_metric_overflow") {
		t.Error("the SDK has folded series")
	}
}
