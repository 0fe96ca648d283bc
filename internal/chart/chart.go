// Package chart draws figures over time as SVG on the server, so that a page shows
// graphs without a script, and the same ones wherever there are some. A graph is
// data for [Template], which goes among a page's own templates; the page's style
// sheet gives the lines their colours (.line-0 to .line-7).
//
// chart.go draws; graph.html is how that is written.
package chart

import (
	_ "embed" // for the template
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/vigie-dev/vigie/internal/i18n"
)

// Template defines the template "graph", which writes a [Graph] with a table of its
// figures, for those who do not see it.
//
//go:embed graph.html
var Template string

const (
	maxSeries = 8 // of a graph, each with a dash of its own
	width     = 560
	height    = 190
	left      = 52 // where the axis stands
	top       = 10
	bottom    = 24 // below it the times

	unknown = "–" // stands where a figure is not known
)

// Series is a line's data, in the order of time.
type Series struct {
	Name   string
	Points []Point
}

// Point is a value at a time. One that is no finite number is no data.
type Point struct {
	At    time.Time
	Value float64
}

// Config says what a graph is of.
type Config struct {
	Title, Unit string
	Start, End  time.Time
	Over        string        // how long that is, in words
	Step        time.Duration // how far points are apart where none lacks

	// Language is that of the words around it, nil for English.
	Language *i18n.Language
	// Time writes a time below the axis; nil writes the time of day in UTC.
	Time func(time.Time) string
}

// Graph is a drawing.
type Graph struct {
	Title, Unit string
	Over        string
	Error       string // why there is none, "" where there is
	Lines       []Line
	Levels      []Tick // of values
	Times       []Tick
	Width       int
	Height      int
	Left, Right int
	Base        int // where the times' axis stands
	Language    *i18n.Language
}

// Say puts a sentence of the template into the graph's language.
func (g Graph) Say(format string, args ...any) string { return g.Language.Sayf(format, args...) }

// Line is one series.
type Line struct {
	Name           string
	Number         int    // which dash and colour
	Path           string // "" where there is no data
	Last, Min, Max string
}

// Tick is a mark on an axis.
type Tick struct {
	At   int
	Text string
	Edge string // start or end, where its text may not reach beyond
}

// LevelX is where levels' texts end.
func (g Graph) LevelX() int { return g.Left - 6 }

// TimeY is where times' texts stand.
func (g Graph) TimeY() int { return g.Base + 17 }

// TextY is where a level's text stands.
func (t Tick) TextY() int { return t.At + 4 }

// Draw makes a graph of data, of the first eight series. Where data lacks, a line
// has a gap.
func Draw(c Config, all ...Series) Graph {
	all = all[:min(len(all), maxSeries)]
	g := Graph{Title: c.Title, Unit: c.Unit, Over: c.Over, Language: c.Language, Width: width, Height: height, Left: left, Right: width - 8, Base: height - bottom}
	highest := 0.0
	for _, s := range all {
		for _, p := range s.Points {
			if usable(p.Value) {
				highest = max(highest, p.Value)
			}
		}
	}
	unit := niceStep(highest)
	highest = unit * math.Max(1, math.Ceil(highest/unit-1e-9))
	y := func(v float64) int {
		return g.Base - int(math.Round(v/highest*float64(g.Base-top)))
	}
	x := func(t time.Time) int {
		return g.Left + int(math.Round(float64(t.Sub(c.Start))/float64(c.End.Sub(c.Start))*float64(g.Right-g.Left)))
	}
	for level := 0.0; level <= highest+unit/2; level += unit {
		g.Levels = append(g.Levels, Tick{At: y(level), Text: c.Language.Say(i18n.Figure(axisText(level)))})
	}
	write := c.Time
	if write == nil {
		write = func(t time.Time) string { return t.UTC().Format("15:04") }
	}
	for i := range 5 {
		at := c.Start.Add(time.Duration(i) * c.End.Sub(c.Start) / 4)
		g.Times = append(g.Times, Tick{x(at), write(at), map[int]string{0: "start", 4: "end"}[i]})
	}
	for i, s := range all {
		g.Lines = append(g.Lines, s.line(c.Language, i, x, y, c.Step))
	}
	return g
}

func usable(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// line draws a series.
func (s Series) line(in *i18n.Language, number int, x func(time.Time) int, y func(float64) int, step time.Duration) Line {
	var path strings.Builder
	lowest, highest, last := math.Inf(1), math.Inf(-1), math.NaN()
	var before time.Time
	for _, p := range s.Points {
		if !usable(p.Value) {
			continue
		}
		word := "L"
		if before.IsZero() || p.At.Sub(before) > step*3/2 {
			word = "M"
		}
		fmt.Fprintf(&path, "%s%d %d", word, x(p.At), y(p.Value))
		before, last = p.At, p.Value
		lowest, highest = min(lowest, p.Value), max(highest, p.Value)
	}
	line := Line{Name: s.Name, Number: number, Path: path.String(), Last: unknown, Min: unknown, Max: unknown}
	if line.Path != "" {
		write := func(v float64) string { return in.Say(i18n.Figure(i18n.Number(Figure(v)))) }
		line.Last, line.Min, line.Max = write(last), write(lowest), write(highest)
	}
	return line
}

// niceStep is a round distance of about three marks up to a value.
func niceStep(top float64) float64 {
	if top <= 0 {
		return 1
	}
	raw := top / 3
	size := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, factor := range []float64{1, 2, 5} {
		if raw <= factor*size {
			return factor * size
		}
	}
	return 10 * size
}

// axisText writes a level without digits that say nothing.
func axisText(v float64) i18n.Number {
	return i18n.Number(strings.TrimSuffix(fmt.Sprintf("%.4g", v), ".0"))
}

// Figure writes a number that is not negative with about three digits.
func Figure(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 0.01:
		return "<0.01"
	case v < 10:
		return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
	case v < 100:
		return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
	default:
		return strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	}
}
