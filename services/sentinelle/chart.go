package sentinelle

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
)

// Span is how far back a graph looks.
type Span struct {
	Name string // as it stands in addresses: 15m
	Text string
	Time time.Duration
}

// spans are those that a graph can have, the first where none is asked for. All
// have about a hundred and twenty points.
func spans() []Span {
	return []Span{
		{"15m", "15 minutes", 15 * time.Minute}, {"1h", "1 hour", time.Hour}, {"6h", "6 hours", 6 * time.Hour},
		{"1d", "1 day", 24 * time.Hour}, {"7d", "7 days", 7 * 24 * time.Hour},
	}
}

func spanOf(name string) Span {
	all := spans()
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	return all[0]
}

const (
	points      = 120
	minStep     = 5 * time.Second // a scrape
	minRange    = time.Minute     // of a rate
	maxSeries   = 8               // of a graph, each with a dash of its own
	graphWidth  = 560
	graphHeight = 190
	graphLeft   = 52 // where the axis stands
	graphTop    = 10
	graphBottom = 24 // below it the times
)

// step is how far a span's points are apart.
func (s Span) step() time.Duration {
	return max(minStep, (s.Time / points).Truncate(minStep))
}

// question is one of the page's graphs.
type question struct {
	title, unit string
	lines       []struct{ name, expr string } // RANGE stands for what rates look back over
}

func questions() []question {
	type line = struct{ name, expr string }
	return []question{
		{"Orders and decisions", "per second", []line{
			{"orders", `sum(rate(orders_total[RANGE]))`},
			{"authorised", `sum(rate(payments_total{status="authorized"}[RANGE]))`},
			{"rejected", `sum(rate(payments_total{status="rejected"}[RANGE]))`},
		}},
		{"Lag, as the age of the oldest record", "seconds", []line{
			{"", `max by (service) (kafka_consumer_lag_seconds)`},
		}},
		{"Latency, 95% take less", "milliseconds", []line{
			{"POST /orders", `1000 * histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{service="commande",route="/orders",status_code="201"}[RANGE])))`},
			{"paiement, a record", `1000 * histogram_quantile(0.95, sum by (le) (rate(kafka_message_processing_duration_seconds_bucket{service="paiement",topic="orders.created"}[RANGE])))`},
		}},
	}
}

// Graph is a drawn question.
type Graph struct {
	Title, Unit string
	Error       string // why there is none, "" where there is
	Lines       []GraphLine
	Levels      []Tick // of values
	Times       []Tick
	Width       int
	Height      int
	Left, Right int
	Base        int // where the times' axis stands
}

// GraphLine is one series.
type GraphLine struct {
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

// series is a line's data.
type series struct {
	name   string
	values []model.SamplePair
}

// ask reads a graph's data and draws it.
func (q question) ask(ctx context.Context, from prometheus, span Span, now time.Time) Graph {
	end := now.Truncate(span.step())
	start := end.Add(-span.Time)
	window := max(minRange, 2*span.step())
	var all []series
	for _, line := range q.lines {
		expr := strings.ReplaceAll(line.expr, "RANGE", fmt.Sprintf("%ds", int(window.Seconds())))
		matrix, err := from.Matrix(ctx, expr, start, end, span.step())
		if err != nil {
			return Graph{Title: q.title, Unit: q.unit, Error: err.Error()}
		}
		for _, stream := range matrix {
			name := line.name
			if name == "" {
				name = string(stream.Metric["service"])
			}
			all = append(all, series{name, stream.Values})
		}
	}
	if len(all) > maxSeries {
		all = all[:maxSeries]
	}
	return draw(q, all, start, end, span)
}

// draw makes a graph of data.
func draw(q question, all []series, start, end time.Time, span Span) Graph {
	g := Graph{
		Title: q.title, Unit: q.unit, Width: graphWidth, Height: graphHeight,
		Left: graphLeft, Right: graphWidth - 8, Base: graphHeight - graphBottom,
	}
	top := 0.0
	for _, s := range all {
		for _, v := range s.values {
			if value := float64(v.Value); usable(value) {
				top = max(top, value)
			}
		}
	}
	if len(all) == 0 {
		g.Error = "Prometheus has no data of this time."
		return g
	}
	unit := niceStep(top)
	top = unit * math.Max(1, math.Ceil(top/unit-1e-9))
	y := func(v float64) int {
		return g.Base - int(math.Round(v/top*float64(g.Base-graphTop)))
	}
	x := func(t time.Time) int {
		return g.Left + int(math.Round(float64(t.Sub(start))/float64(end.Sub(start))*float64(g.Right-g.Left)))
	}
	for level := 0.0; level <= top+unit/2; level += unit {
		g.Levels = append(g.Levels, Tick{At: y(level), Text: axisText(level)})
	}
	layout := "15:04"
	if span.Time > 24*time.Hour {
		layout = "2 Jan"
	}
	for i := range 5 {
		at := start.Add(time.Duration(i) * span.Time / 4)
		g.Times = append(g.Times, Tick{x(at), at.UTC().Format(layout), map[int]string{0: "start", 4: "end"}[i]})
	}
	for i, s := range all {
		g.Lines = append(g.Lines, s.line(i, x, y, span.step()))
	}
	return g
}

func usable(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// line draws a series. Where data lacks, the line does.
func (s series) line(number int, x func(time.Time) int, y func(float64) int, step time.Duration) GraphLine {
	var path strings.Builder
	lowest, highest, last := math.Inf(1), math.Inf(-1), math.NaN()
	var before time.Time
	for _, v := range s.values {
		value, at := float64(v.Value), v.Timestamp.Time()
		if !usable(value) {
			continue
		}
		word := "L"
		if before.IsZero() || at.Sub(before) > step*3/2 {
			word = "M"
		}
		fmt.Fprintf(&path, "%s%d %d", word, x(at), y(value))
		before, last = at, value
		lowest, highest = min(lowest, value), max(highest, value)
	}
	line := GraphLine{Name: s.name, Number: number, Path: path.String(), Last: nothing, Min: nothing, Max: nothing}
	if line.Path != "" {
		line.Last, line.Min, line.Max = figureText(last), figureText(lowest), figureText(highest)
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
func axisText(v float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.4g", v), ".0")
}

// graphs keeps the drawn graphs of each span for as long as new ones would look
// the same: many who look cost what one does.
type graphs struct {
	from prometheus
	now  func() time.Time

	mu   sync.Mutex // held while Prometheus is asked: others want the same
	kept map[string]keptGraphs
}

type keptGraphs struct {
	until time.Time
	all   []Graph
}

// longestKept is how long graphs are kept whose points are far apart.
const longestKept = time.Minute

// graphTimeout bounds the questions of all graphs together.
const graphTimeout = 3 * time.Second

// of returns the graphs of a span.
func (g *graphs) of(ctx context.Context, span Span) []Graph {
	g.mu.Lock()
	defer g.mu.Unlock()
	if kept, ok := g.kept[span.Name]; ok && g.now().Before(kept.until) {
		return kept.all
	}
	ctx, cancel := context.WithTimeout(ctx, graphTimeout)
	defer cancel()
	at, keep := g.now(), min(span.step(), longestKept)
	var all []Graph
	for _, q := range questions() {
		if g.from == nil {
			all = append(all, Graph{Title: q.title, Unit: q.unit, Error: errNoPrometheus.Error()})
			continue
		}
		drawn := q.ask(ctx, g.from, span, at)
		if drawn.Error != "" {
			keep = minStep
		}
		all = append(all, drawn)
	}
	if ctx.Err() == nil {
		if g.kept == nil {
			g.kept = map[string]keptGraphs{}
		}
		g.kept[span.Name] = keptGraphs{at.Add(keep), all}
	}
	return all
}
