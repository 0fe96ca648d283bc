package traces

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

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
			if !errors.Is(err, ErrUnknownTrace) && !errors.Is(err, errForeignAnswer) {
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
