package telemetry_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func TestMetricsHandlerFormats(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	for accept, want := range map[string]string{
		"": "text/plain",
		"application/openmetrics-text; version=1.0.0": "application/openmetrics-text",
		"*/*": "text/plain",
	} {
		req := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		req.Header.Set("Accept", accept)
		answer := httptest.NewRecorder()
		r.MetricsHandler().ServeHTTP(answer, req)
		if got := answer.Header().Get("Content-Type"); !strings.HasPrefix(got, want) {
			t.Errorf("Accept %q is answered with %q, want %s", accept, got, want)
		}
	}
}

// stuck is a collector that says when a scrape has reached it and keeps it there.
type stuck struct{ entered, release chan struct{} }

func (s stuck) Describe(chan<- *prometheus.Desc) {}

func (s stuck) Collect(chan<- prometheus.Metric) {
	s.entered <- struct{}{}
	<-s.release
}

func TestScrapesAreBounded(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	s := stuck{make(chan struct{}), make(chan struct{})}
	if err := r.Registry().Register(s); err != nil {
		t.Fatal(err)
	}
	const limit = 8
	answers := make(chan int)
	scrape := func() int {
		answer := httptest.NewRecorder()
		r.MetricsHandler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return answer.Code
	}
	for range limit {
		go func() { answers <- scrape() }()
	}
	for range limit {
		<-s.entered
	}
	if code := scrape(); code != http.StatusServiceUnavailable {
		t.Errorf("one scrape too many is answered %d, want 503", code)
	}
	close(s.release)
	for range limit {
		if code := <-answers; code != http.StatusOK {
			t.Errorf("a scrape within the limit is answered %d", code)
		}
	}
}

// broken is a collector whose metric cannot be gathered.
type broken struct{ desc *prometheus.Desc }

func (b broken) Describe(chan<- *prometheus.Desc) {}

func (b broken) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.NewInvalidMetric(b.desc, http.ErrBodyNotAllowed)
}

func TestPartialPageIsServedAndLogged(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	r.Registry().MustRegister(broken{prometheus.NewDesc("broken", "Broken.", nil, nil)})
	if page := r.Page(); !strings.Contains(page, "process_uptime_seconds{") {
		t.Errorf("one broken collector empties the page:\n%s", page)
	}
	logs := r.Logs()
	if len(logs) != 1 || logs[0]["msg"] != "metrics page is incomplete" || logs[0]["level"] != "ERROR" {
		t.Errorf("logs %v, want one error", logs)
	}
}
