package traces

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func TestMain(m *testing.M) {
	leaks.Main(m)
}

const testTrace = "4bf92f3577b34da6a3ce929d0e0e4736"

// example is one of Jaeger's answers, of the folder testdata.
func example(t testing.TB, name string) Trace {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	trace, err := decode(body, testTrace)
	if err != nil {
		t.Fatal(err)
	}
	return trace
}

// What a trace looks like: an order that was paid, one that failed and was
// replayed; spans without parent, clocks that disagree and texts that a
// terminal would obey; circles; and more levels than a line has room for.
func TestTreesReadLikeThis(t *testing.T) {
	for _, name := range []string{"authorized", "replayed", "odd", "circle", "deep"} {
		t.Run(name, func(t *testing.T) {
			report := Report{Order: "order-1", Status: "PAYMENT_AUTHORIZED", TraceID: testTrace, Tree: NewTree(example(t, name)), From: "jaeger"}
			text := report.Text(0)
			telemetrytest.Golden(t, name+".txt", text)
			printable(t, text)
			var indented strings.Builder
			encoder := json.NewEncoder(&indented)
			encoder.SetIndent("", " ")
			if err := encoder.Encode(report); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(text+indented.String(), "marker-user") || strings.Contains(text+indented.String(), "100.5") {
				t.Errorf("the report names the user or the amount:\n%s%s", text, indented.String())
			}
		})
	}
}

// printable fails where a line is too long or a terminal would obey it.
func printable(t interface {
	Helper()
	Errorf(string, ...any)
}, text string,
) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if n := utf8.RuneCountInString(line); n > lineWidth {
			t.Errorf("%d columns: %s", n, line)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x9b }) {
			t.Errorf("control characters: %q", line)
		}
	}
}

func TestTreeForMachines(t *testing.T) {
	body, err := json.Marshal(Report{Order: "order-1", TraceID: testTrace, Tree: NewTree(example(t, "replayed")), From: "jaeger"})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Source         string
		DurationMicros int64
		Spans          []struct {
			SpanID, Service, Name, Error, Topic, Partition, Offset string
			Depth                                                  int
			AfterMicros, DurationMicros                            int64
			Failed                                                 bool
		}
		Records []any
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if got.Source != "jaeger" || got.DurationMicros != 5951480 || len(got.Spans) != 13 || got.Records == nil {
		t.Fatalf("report %s", body)
	}
	second := got.Spans[4] // try to pay the order
	if second.Service != "paiement" || second.Name != "process orders.created" || second.Topic != "orders.created" || second.Partition != "0" ||
		second.Offset != "1" || second.Depth != 2 || second.AfterMicros != 120400 || second.DurationMicros != 20700 || !second.Failed || second.Error != "authoriser" {
		t.Errorf("span %+v", second)
	}
}

func TestALimitCutsTheTree(t *testing.T) {
	tree := NewTree(example(t, "authorized"))
	text := tree.text(2)
	if got := strings.Count(text, "\n"); got != 3 || !strings.HasSuffix(text, "and 4 spans more; --limit shows more of them\n") {
		t.Errorf("two lines of six:\n%s", text)
	}
}

// A trace of a hundred thousand spans, each the parent of the next.
func TestADeepTraceIsPrinted(t *testing.T) {
	const n = 100_000
	trace := Trace{ID: testTrace}
	for i := range n {
		s := Span{ID: fmt.Sprint(i), Service: "commande", Name: "step", Start: time.UnixMicro(int64(i))}
		if i > 0 {
			s.Parent = fmt.Sprint(i - 1)
		}
		trace.Spans = append(trace.Spans, s)
	}
	tree := NewTree(trace)
	if len(tree.Lines) != n || tree.Lines[n-1].Depth != n-1 {
		t.Fatalf("%d lines, the last at depth %d", len(tree.Lines), tree.Lines[len(tree.Lines)-1].Depth)
	}
	if len(tree.Lines[n-1].guide) > 10*maxGuides {
		t.Errorf("indented by %d bytes", len(tree.Lines[n-1].guide))
	}
	printable(t, tree.text(1000))
}

func TestANodeStandsOnceAndBelowItsParent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(t, "nodes")
		parent := make([]int, n)
		for i := range parent {
			parent[i] = rapid.IntRange(none, n-1).Draw(t, "parent")
		}
		at := make(map[int]arranged, n)
		order := make(map[int]int, n)
		for i, a := range arrange(parent, nil) {
			if _, twice := at[a.node]; twice {
				t.Fatalf("%d twice", a.node)
			}
			at[a.node], order[a.node] = a, i
		}
		if len(at) != n {
			t.Fatalf("%d nodes of %d", len(at), n)
		}
		for node, p := range parent {
			a := at[node]
			switch {
			case p == none && (a.depth != 0 || a.circle):
				t.Errorf("root %d is %+v", node, a)
			case a.depth == 0 && p != none && !a.circle:
				t.Errorf("%d is at the top, its parent is %d", node, p)
			case a.depth > 0 && (at[p].depth != a.depth-1 || order[p] > order[node]):
				t.Errorf("%d, %+v, is not below its parent %d, %+v", node, a, p, at[p])
			}
		}
	})
}

func TestBars(t *testing.T) {
	for _, tt := range []struct {
		after, length, whole time.Duration
		want                 string
	}{
		{0, 100, 100, "██████████"},
		{0, 0, 100, "▏         "},
		{50, 10, 100, "     █    "},
		{25, 25, 100, "  ▐██     "},
		{0, 37, 100, "███▋      "},
		{100, 0, 100, "         ▕"},
		{0, 0, 0, "▏         "},
		{200, 50, 100, "         ▕"},
		{98, 1, 100, "         ▕"},
		{93, 3, 100, "         ▎"},
	} {
		if got := bar(tt.after, tt.length, tt.whole, 10); got != tt.want {
			t.Errorf("bar(%d, %d, %d) = %q, want %q", tt.after, tt.length, tt.whole, got, tt.want)
		}
	}
}

func TestPeriods(t *testing.T) {
	const day = 24 * time.Hour
	for d, want := range map[time.Duration]string{
		0: "0 ms", -time.Second: "0 ms", 40 * time.Microsecond: "0.04 ms", 4120 * time.Microsecond: "4.12 ms",
		48_230 * time.Microsecond: "48.2 ms", 350 * time.Millisecond: "350 ms", 5912 * time.Millisecond: "5.91 s",
		65 * time.Second: "65.0 s", 200 * time.Second: "3m20s", 90 * time.Minute: "1h30m", 3*day + 4*time.Hour: "3d4h",
		1 << 62: "53375d",
	} {
		if got := period(d); got != want || utf8.RuneCountInString(got) > timeWidth {
			t.Errorf("period(%d) = %q, want %q", d, got, want)
		}
	}
}
