//go:build integration && unix

package monitoring_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/zipkin/zipkinv2"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/vigie-dev/vigie/monitoring/internal/servers"
	"github.com/vigie-dev/vigie/monitoring/internal/stack"
)

// zipkinTakesSpans does the work of the Collector's exporter for Zipkin, which
// the Collector of the tests lacks: what the Collector exported elsewhere goes
// through the exporter's own translation to a real Zipkin, and comes back as
// whole traces.
func zipkinTakesSpans(t *testing.T, s *stack.Tracing, orders []stack.Placed) {
	zipkin := servers.StartZipkin(t)
	want := map[string]int{} // spans by trace
	exported, err := exportedSpans(s.Collector.Spans)
	if err != nil || len(exported) == 0 {
		t.Fatalf("the Collector exported %d batches, %v", len(exported), err)
	}
	for _, traces := range exported {
		spans, err := zipkinv2.FromTranslator{}.FromTraces(traces)
		if err != nil {
			t.Fatal(err)
		}
		for _, span := range spans {
			want[span.TraceID.String()]++
		}
		text, err := json.Marshal(spans)
		if err != nil {
			t.Fatal(err)
		}
		post(t, zipkin.URL("/api/v2/spans"), text)
	}
	for _, order := range orders {
		eventually(t, func(ctx context.Context) error {
			var spans []struct{ ID string }
			if err := stack.Get(ctx, zipkin.URL("/api/v2/trace/"+order.TraceID), &spans); err != nil {
				return err
			}
			if len(spans) != want[order.TraceID] || len(spans) == 0 {
				return fmt.Errorf("trace %s has %d spans in Zipkin, want %d", order.TraceID, len(spans), want[order.TraceID])
			}
			return nil
		})
	}
}

// exportedSpans reads the file that the Collector writes.
func exportedSpans(path string) ([]ptrace.Traces, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []ptrace.Traces
	for line := range bytes.Lines(text) {
		traces, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(line)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		all = append(all, traces)
	}
	return all, nil
}

// post sends JSON; it must be taken.
func post(t *testing.T, url string, text []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || response.StatusCode/100 != 2 {
		t.Fatalf("POST %s: %s, %v", url, response.Status, err)
	}
}
