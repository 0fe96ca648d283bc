package traces

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// Where Jaeger has the batch that a span was part of, the tree says how large
// it was; a batch of one record is none. One that it has not stays a link.
func TestBatchesAreLookedUp(t *testing.T) {
	const prefix = "/api/traces/000000000000000000000000ba7c400"
	sizes := map[string]string{"1": "1", "2": "12", "3": "7"}
	spans := map[string]string{"1": "e7", "2": "e8", "3": "an", "4": "eb"} // the third is not the one that is linked
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		n, ok := strings.CutPrefix(r.URL.Path, prefix)
		if !ok || sizes[n] == "" {
			http.NotFound(w, r)
			return
		}
		names := map[string]string{"1": "store orders.created", "2": "store orders.created", "3": "publish"}
		fmt.Fprintf(w, `{"data":[{"spans":[{"traceID":"ba7c400%s","spanID":"%s","operationName":"%s","tags":[{"key":"messaging.batch.message_count","value":%s}]}]}]}`,
			n, spans[n], names[n], sizes[n])
	}))
	defer server.Close()
	tree := NewTree(example(t, "batched"))
	Jaeger{URL: server.URL}.Batches(t.Context(), tree)
	if asked != 4 {
		t.Errorf("Jaeger was asked %d times", asked)
	}
	text := Report{Order: "order-1", TraceID: testTrace, Tree: tree}.Text(0)
	telemetrytest.Golden(t, "batched.txt", text)
	printable(t, text)
}

// However many batches a trace is part of, few are asked for.
func TestFewBatchesAreLookedUp(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.NotFound(w, r)
	}))
	defer server.Close()
	trace := Trace{ID: testTrace}
	for i := range 3 * maxBatches {
		id := fmt.Sprintf("%032x", i+1)
		trace.Spans = append(trace.Spans, Span{ID: fmt.Sprint(i), Links: []Link{{id, "1"}}}, Span{ID: fmt.Sprint(-i - 1), Links: []Link{{id, "2"}}})
	}
	Jaeger{URL: server.URL}.Batches(t.Context(), NewTree(trace))
	if asked != maxBatches {
		t.Errorf("Jaeger was asked %d times", asked)
	}
}
