package chart

import (
	"html/template"
	"math"
	"strings"
	"testing"
	"time"
)

func points(start time.Time, step time.Duration, values ...float64) []Point {
	var all []Point
	for i, v := range values {
		if v >= 0 { // a negative one is a gap
			all = append(all, Point{start.Add(time.Duration(i) * step), v})
		}
	}
	return all
}

// Lines end where data lacks, and what is no number is no data.
func TestALine(t *testing.T) {
	end, step := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), 10*time.Second
	start := end.Add(-15 * time.Minute)
	g := Draw(Config{Start: start, End: end, Step: step},
		Series{"orders", append(points(start, step, 1, 2, -1, -1, 3), Point{start.Add(5 * step), math.NaN()}, Point{start.Add(6 * step), 4})},
		Series{"empty", nil}, Series{"zero", points(start, step, 0, 0)})
	line := g.Lines[0]
	if n := strings.Count(line.Path, "M"); n != 3 || line.Last != "4" || line.Min != "1" || line.Max != "4" {
		t.Errorf("%+v", line)
	}
	if strings.Contains(line.Path, "NaN") || g.Lines[1].Path != "" || g.Lines[1].Last != unknown || g.Lines[2].Last != "0" {
		t.Errorf("%+v", g.Lines)
	}
	if level := g.Levels[len(g.Levels)-1]; level.Text != "4" || level.At != top || g.Levels[0].Text != "0" || g.Levels[0].At != g.Base {
		t.Errorf("levels %+v", g.Levels)
	}
	if g.Times[0].Text != "11:45" || g.Times[4].Text != "12:00" || g.Times[4].At != g.Right {
		t.Errorf("times %+v", g.Times)
	}
}

func TestAGraphIsWrittenWithItsFigures(t *testing.T) {
	start := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	var b strings.Builder
	g := Draw(Config{Title: "a <b>", Unit: "per second", Start: start, End: start.Add(time.Minute), Over: "a minute", Step: time.Minute},
		Series{"orders", points(start, time.Minute, 1, 2)}, Series{"empty", nil})
	if err := template.Must(template.New("").Parse(Template)).ExecuteTemplate(&b, "graph", g); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a &lt;b&gt;, over a minute.", `class="line line-0" d="M52 88L552 10"`, "<td class=\"number\">–</td>", "</svg> orders</th>"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, b.String())
		}
	}
	if n := strings.Count(b.String(), `class="line line-1"`); n != 1 { // of the legend alone
		t.Errorf("%d lines without data", n)
	}
}

func TestNiceStep(t *testing.T) {
	for top, want := range map[float64]float64{0: 1, 1: 0.5, 3: 1, 5.4: 2, 14: 5, 27: 10, 0.0042: 0.002, 999: 500} {
		if got := niceStep(top); math.Abs(got-want) > want*1e-9 {
			t.Errorf("up to %v in steps of %v, want %v", top, got, want)
		}
	}
}

func TestFigure(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.001: "<0.01", 0.3333: "0.33", 5.154: "5.15", 41.26: "41.3", 1234.4: "1234"} {
		if got := Figure(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}
