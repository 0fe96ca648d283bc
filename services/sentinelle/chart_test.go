package sentinelle

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
)

func samples(start time.Time, step time.Duration, values ...float64) []model.SamplePair {
	var all []model.SamplePair
	for i, v := range values {
		if v >= 0 { // a negative one is a gap
			all = append(all, model.SamplePair{Timestamp: model.TimeFromUnix(start.Add(time.Duration(i) * step).Unix()), Value: model.SampleValue(v)})
		}
	}
	return all
}

// Lines end where data lacks, and what is no number is no data.
func TestALine(t *testing.T) {
	span := spanOf("15m")
	start, end := noon().Add(-span.Time), noon()
	g := draw(questions()[0], []series{
		{"orders", samples(start, span.step(), 1, 2, -1, -1, 3, math.NaN(), 4)}, {"empty", nil}, {"zero", samples(start, span.step(), 0, 0)},
	}, start, end, span)
	line := g.Lines[0]
	if n := strings.Count(line.Path, "M"); n != 3 || line.Last != "4" || line.Min != "1" || line.Max != "4" {
		t.Errorf("%+v", line)
	}
	if strings.Contains(line.Path, "NaN") || g.Lines[1].Path != "" || g.Lines[1].Last != nothing || g.Lines[2].Last != "0" {
		t.Errorf("%+v", g.Lines)
	}
	if top := g.Levels[len(g.Levels)-1]; top.Text != "4" || top.At != graphTop || g.Levels[0].Text != "0" || g.Levels[0].At != g.Base {
		t.Errorf("levels %+v", g.Levels)
	}
	if g.Times[0].Text != "11:45" || g.Times[4].Text != "12:00" || g.Times[4].At != g.Right {
		t.Errorf("times %+v", g.Times)
	}
}

func TestSpans(t *testing.T) {
	for _, s := range spans() {
		if n := s.Time / s.step(); n < 100 || n > 200 {
			t.Errorf("%s has %d points", s.Name, n)
		}
		if spanOf(s.Name) != s {
			t.Errorf("%s is not found", s.Name)
		}
	}
	if spanOf("nonsense") != spans()[0] {
		t.Error("nonsense is a span")
	}
}

func TestNiceStep(t *testing.T) {
	for top, want := range map[float64]float64{0: 1, 1: 0.5, 3: 1, 5.4: 2, 14: 5, 27: 10, 0.0042: 0.002, 999: 500} {
		if got := niceStep(top); math.Abs(got-want) > want*1e-9 {
			t.Errorf("up to %v in steps of %v, want %v", top, got, want)
		}
	}
}

// Graphs are asked for once for all who look, and soon again after a failure.
func TestGraphsAreKept(t *testing.T) {
	b := healthyBank()
	s := openSite(t, b, surroundings())
	b.matrix = model.Matrix{{Values: samples(noon().Add(-time.Minute), 5*time.Second, 1, 2)}}
	for range 10 {
		s.page.graphs.of(t.Context(), spanOf("7d"))
	}
	once := b.count("matrix")
	if lines := 6; once != lines {
		t.Errorf("%d questions, want %d", once, lines)
	}
	s.now = s.now.Add(longestKept + time.Second)
	b.change(func() { b.deaf = true })
	if all := s.page.graphs.of(t.Context(), spanOf("7d")); all[0].Error == "" {
		t.Error("no data is drawn as data")
	}
	before := b.count("matrix")
	s.now = s.now.Add(minStep)
	if s.page.graphs.of(t.Context(), spanOf("7d")); b.count("matrix") == before {
		t.Error("a failure is kept for long")
	}
	if all := (&graphs{now: time.Now}).of(t.Context(), spanOf("1h")); all[0].Error != errNoPrometheus.Error() {
		t.Errorf("without a Prometheus: %q", all[0].Error)
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		300 * time.Microsecond: "300 µs", 4200 * time.Microsecond: "4.2 ms", 38 * time.Millisecond: "38 ms", 1500 * time.Millisecond: "1.5 s",
		61 * time.Second: "61 s", 10 * time.Minute: "10 min", 49 * time.Hour: "49 h",
	} {
		if got := shortDuration(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0", 0.001: "<0.01", 0.3333: "0.33", 5.154: "5.15", 41.26: "41.3", 1234.4: "1234"} {
		if got := figureText(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
	for address, want := range map[string]string{
		"http://commande:3001": "http://localhost:3001", "http://127.0.0.1:3001": "http://127.0.0.1:3001", "https://bank.example:1": "https://bank.example:1",
		"http://[::1]:3001": "http://[::1]:3001", "http://localhost:1": "http://localhost:1",
	} {
		if got := linkTo(address); got != want {
			t.Errorf("%s leads to %s, want %s", address, got, want)
		}
	}
}
