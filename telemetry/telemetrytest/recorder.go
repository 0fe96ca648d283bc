// Package telemetrytest lets a test read, in one line, what a service measured, traced and logged.
//
// It exists so that tests assert on what users see (the page, the spans, the log lines) and not on calls to
// instruments.
//
// recorder.go has the Recorder, its spans, logs and pages, and golden files; metrics.go reads metrics; openmetrics.go
// checks a page as the strictest parsers do.
package telemetrytest

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/vigie-dev/vigie/telemetry"
)

// Recorder is a service's telemetry that remembers everything. It is safe for concurrent use; assertions that
// fail end the test and so must run in the test's own goroutine.
type Recorder struct {
	*telemetry.Telemetry
	t     testing.TB
	spans *tracetest.SpanRecorder
	logs  *buffer
}

// New returns the telemetry of a service with the metrics of [catalogue.Common] and cat, logging JSON from debug
// level on. It is shut down when the test ends.
func New(t testing.TB, service string, cat telemetry.Catalogue) *Recorder {
	t.Helper()
	r := &Recorder{t: t, spans: tracetest.NewSpanRecorder(), logs: &buffer{}}
	var err error
	r.Telemetry, err = telemetry.Setup(context.Background(), telemetry.Config{
		Service:        service,
		Version:        "test",
		Catalogue:      cat,
		LogWriter:      r.logs,
		LogFormat:      telemetry.LogJSON,
		LogLevel:       slog.LevelDebug,
		SpanProcessors: []sdktrace.SpanProcessor{r.spans},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// Spans returns the spans that have ended, in that order.
func (r *Recorder) Spans() tracetest.SpanStubs {
	return tracetest.SpanStubsFromReadOnlySpans(r.spans.Ended())
}

// Span returns the one ended span of that name. None or several end the test.
func (r *Recorder) Span(name string) tracetest.SpanStub {
	r.t.Helper()
	var found tracetest.SpanStubs
	var names []string
	for _, s := range r.Spans() {
		names = append(names, s.Name)
		if s.Name == name {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		r.t.Fatalf("%d spans are named %q, want 1; ended: %q", len(found), name, names)
	}
	return found[0]
}

// Logs returns the log's records in order. A line that is not a JSON object ends the test.
func (r *Recorder) Logs() []map[string]any {
	r.t.Helper()
	var records []map[string]any
	for line := range bytes.Lines(r.logs.copy()) {
		var record map[string]any
		if err := json.Unmarshal(line, &record); err != nil {
			r.t.Fatalf("log line %q: %v", line, err)
		}
		records = append(records, record)
	}
	return records
}

// Page returns /metrics as served to a client that asks for nothing special: the Prometheus text format.
func (r *Recorder) Page() string {
	r.t.Helper()
	return r.page("")
}

// OpenMetricsPage returns /metrics as served to a client that asks for OpenMetrics, exemplars included.
func (r *Recorder) OpenMetricsPage() string {
	r.t.Helper()
	return r.page("application/openmetrics-text; version=1.0.0")
}

func (r *Recorder) page(accept string) string {
	r.t.Helper()
	request := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", accept)
	answer := httptest.NewRecorder()
	r.MetricsHandler().ServeHTTP(answer, request)
	if answer.Code != http.StatusOK {
		r.t.Fatalf("GET /metrics: status %d: %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) copy() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.b.Bytes())
}

// Golden compares got with a file of the package's folder testdata, and fails the test with the difference. With
// UPDATE_GOLDEN set in the environment it writes the file first.
func Golden(t testing.TB, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil { //nolint:gosec // a file of the repository
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path) //nolint:gosec // chosen by the test
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), UPDATE_GOLDEN=1 accepts:\n%s", path, diff)
	}
}
