package traces

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// Whatever answers, or nothing: either the trace, or one of two errors.
func TestJaegerIsQueried(t *testing.T) {
	known, err := os.ReadFile("testdata/authorized.json")
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]http.HandlerFunc{
		"knows": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(known) },
		"does not know": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"data":null,"total":0,"limit":0,"offset":0,"errors":[{"code":404,"msg":"trace not found"}]}`)
		},
		"has nothing":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"data":[],"errors":null}`) },
		"is another":   func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `<!doctype html>`) },
		"has no route": http.NotFound,
		"is ill": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, "{\"errors\":[{\"code\":500,\"msg\":\"storage\\u001b is away\"}]}")
		},
		"never ends": func(w http.ResponseWriter, _ *http.Request) {
			for range maxResponse>>20 + 1 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		},
		"hangs up": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"data":`)
		},
	}
	for name, want := range map[string]struct {
		err  error
		text string
	}{
		"knows":         {},
		"does not know": {ErrUnknownTrace, "does not know the trace"},
		"has nothing":   {ErrUnknownTrace, "does not know the trace"},
		"is another":    {ErrAway, "not an answer of its API"},
		"has no route":  {ErrAway, "404 Not Found"},
		"is ill":        {ErrAway, "500 Internal Server Error storage� is away"},
		"never ends":    {ErrAway, "in less than 32 MiB"},
		"hangs up":      {ErrAway, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/base/api/traces/"+testTrace {
					t.Errorf("asked for %s", r.URL)
				}
				answers[name](w, r)
			}))
			defer server.Close()
			trace, err := Jaeger{URL: server.URL + "/base/"}.Trace(t.Context(), testTrace)
			if !errors.Is(err, want.err) || (err != nil && !strings.Contains(err.Error(), want.text)) {
				t.Errorf("error %v, want %v with %q", err, want.err, want.text)
			}
			if (err == nil) != (len(trace.Spans) == 6) {
				t.Errorf("%d spans and error %v", len(trace.Spans), err)
			}
		})
	}
}

func TestNoJaegerAnswers(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for url, want := range map[string]string{
		gone.URL: "Jaeger at " + gone.URL + " does not answer: connection refused",
		strings.Replace(gone.URL, "http://", "http://user:secret@", 1): "http://user:xxxxx@",
		"127.0.0.1:16686": "does not answer: its URL is not one such as",
		"ftp://jaeger":    "does not answer: its URL is not one such as",
		"":                "does not answer: its URL is not one such as",
	} {
		if _, err := (Jaeger{URL: url}).Trace(t.Context(), testTrace); !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

// A question ends with its context, whatever the server does.
func TestASilentJaegerIsLeft(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	if _, err := (Jaeger{URL: server.URL}).Trace(ctx, testTrace); !errors.Is(err, ErrAway) {
		t.Errorf("error %v", err)
	}
}

func TestSpansAreRead(t *testing.T) {
	const id = "000000000000000000000000000000ab"
	for name, tt := range map[string]struct {
		span string
		want Span
	}{
		"ids without their zeros": {
			`{"traceID":"AB","spanID":"C","references":[{"refType":"CHILD_OF","traceID":"ab","spanID":"D"}]}`,
			Span{ID: "000000000000000c", Parent: "000000000000000d"},
		},
		"a parent as old versions have it": {
			`{"traceID":"ab","spanID":"c","parentSpanID":"d"}`, Span{ID: "000000000000000c", Parent: "000000000000000d"},
		},
		"a parent of another trace is a link": {
			`{"traceID":"ab","spanID":"c","references":[{"refType":"CHILD_OF","traceID":"1","spanID":"2"}]}`,
			Span{ID: "000000000000000c", Links: []Link{{"00000000000000000000000000000001", "0000000000000002"}}},
		},
		"the first of two parents": {
			`{"traceID":"ab","spanID":"c","references":[{"refType":"CHILD_OF","traceID":"ab","spanID":"1"},{"refType":"CHILD_OF","traceID":"ab","spanID":"2"}]}`,
			Span{ID: "000000000000000c", Parent: "0000000000000001", Links: []Link{{id, "0000000000000002"}}},
		},
		"times beyond what can be said": {
			`{"traceID":"ab","spanID":"c","startTime":18446744073709551615,"duration":18446744073709551615}`,
			Span{ID: "000000000000000c", Start: time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC), Duration: longestMicros * time.Microsecond},
		},
		"the error's type where it has no message": {
			`{"traceID":"ab","spanID":"c","tags":[{"key":"error.type","value":"timeout"},{"key":"otel.status_code","value":"ERROR"}]}`,
			Span{ID: "000000000000000c", Failed: true, Error: "timeout"},
		},
		"an error's type alone is no failure": {
			`{"traceID":"ab","spanID":"c","tags":[{"key":"error.type","value":"timeout"},{"key":"error","value":false}]}`, Span{ID: "000000000000000c"},
		},
		"attributes of all types, and none but the known ones": {
			`{"traceID":"ab","spanID":"c","tags":[{"key":"http.status_code","value":201},{"key":"vigie.attempts","value":"3"},{"key":"userId","value":"u"},{"key":"error","value":"true"}]}`,
			Span{ID: "000000000000000c", HTTPStatus: "201", Attempts: "3", Failed: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			trace, err := decode([]byte(`{"data":[{"spans":[`+tt.span+`]}]}`), id)
			if err != nil {
				t.Fatal(err)
			}
			got := trace.Spans[0]
			if tt.want.Start.IsZero() {
				got.Start = time.Time{}
			}
			a, _ := json.Marshal(got)
			b, _ := json.Marshal(tt.want)
			if string(a) != string(b) || got.Duration != tt.want.Duration {
				t.Errorf("got  %s %d\nwant %s %d", a, got.Duration, b, tt.want.Duration)
			}
		})
	}
}

// Whatever Jaeger answers, the tree has each span once and can be printed.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatal(err, files)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte(`{"data":[{"spans":[{"traceID":"` + testTrace + `","spanID":"1","startTime":1e3}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		trace, err := decode(body, testTrace)
		if err != nil {
			if !errors.Is(err, ErrUnknownTrace) && !errors.Is(err, errForeignResponse) {
				t.Errorf("error of no kind: %v", err)
			}
			return
		}
		tree := NewTree(trace)
		if len(tree.Lines) != len(once(trace.Spans)) {
			t.Errorf("%d lines of %d spans", len(tree.Lines), len(once(trace.Spans)))
		}
		for _, l := range tree.Lines {
			if l.After < 0 || l.After+l.Duration > tree.Duration {
				t.Errorf("%s is outside the trace", l.ID)
			}
		}
		report := Report{TraceID: testTrace, Tree: tree}
		printable(t, report.Text(0))
		if _, err := json.Marshal(report); err != nil {
			t.Error(err)
		}
	})
}

// Where Jaeger has the batch that a span was part of, the tree says how large
// it was; a batch of one record is none. One that it has not stays a link.
func TestBatchesAreLookedUp(t *testing.T) {
	const prefix = "/api/traces/000000000000000000000000ba7c400"
	sizes := map[string]string{"1": "1", "2": "12", "3": "7"}
	spans := map[string]string{"1": "e7", "2": "e8", "3": "an", "4": "eb"} // the third is not the one that is linked
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
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
	Batches(t.Context(), Jaeger{URL: server.URL}, tree)
	if requests != 4 {
		t.Errorf("Jaeger got %d requests", requests)
	}
	text := Report{Order: "order-1", TraceID: testTrace, Tree: tree}.Text(0)
	telemetrytest.Golden(t, "batched.txt", text)
	printable(t, text)
}

// However many batches a trace is part of, few are asked for.
func TestFewBatchesAreLookedUp(t *testing.T) {
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		http.NotFound(w, r)
	}))
	defer server.Close()
	trace := Trace{ID: testTrace}
	for i := range 3 * maxBatches {
		id := fmt.Sprintf("%032x", i+1)
		trace.Spans = append(trace.Spans, Span{ID: fmt.Sprint(i), Links: []Link{{id, "1"}}}, Span{ID: fmt.Sprint(-i - 1), Links: []Link{{id, "2"}}})
	}
	Batches(t.Context(), Jaeger{URL: server.URL}, NewTree(trace))
	if requests != maxBatches {
		t.Errorf("Jaeger got %d requests", requests)
	}
}
