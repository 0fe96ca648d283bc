package sentinelle

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"

	"github.com/vigie-dev/vigie/internal/chart"
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
	points   = 120
	minStep  = 5 * time.Second // a scrape
	minRange = time.Minute     // of a rate
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

// ask reads a graph's data and draws it.
func (q question) ask(ctx context.Context, from prometheus, span Span, now time.Time) chart.Graph {
	end := now.Truncate(span.step())
	start := end.Add(-span.Time)
	window := max(minRange, 2*span.step())
	var all []chart.Series
	for _, line := range q.lines {
		expr := strings.ReplaceAll(line.expr, "RANGE", fmt.Sprintf("%ds", int(window.Seconds())))
		matrix, err := from.Matrix(ctx, expr, start, end, span.step())
		if err != nil {
			return chart.Graph{Title: q.title, Unit: q.unit, Error: err.Error()}
		}
		for _, stream := range matrix {
			name := line.name
			if name == "" {
				name = string(stream.Metric["service"])
			}
			all = append(all, seriesOf(name, stream.Values))
		}
	}
	if len(all) == 0 {
		return chart.Graph{Title: q.title, Unit: q.unit, Error: "Prometheus has no data of this time."}
	}
	return chart.Draw(q.config(start, end, span), all...)
}

// config says what its graph is of.
func (q question) config(start, end time.Time, span Span) chart.Config {
	layout := "15:04"
	if span.Time > 24*time.Hour {
		layout = "2 Jan"
	}
	return chart.Config{
		Title: q.title, Unit: q.unit, Start: start, End: end, Over: span.Text, Step: span.step(),
		Time: func(t time.Time) string { return t.UTC().Format(layout) },
	}
}

// seriesOf is a stream of Prometheus as a line.
func seriesOf(name string, values []model.SamplePair) chart.Series {
	s := chart.Series{Name: name, Points: make([]chart.Point, len(values))}
	for i, v := range values {
		s.Points[i] = chart.Point{At: v.Timestamp.Time(), Value: float64(v.Value)}
	}
	return s
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
	all   []chart.Graph
}

// longestKept is how long graphs are kept whose points are far apart.
const longestKept = time.Minute

// graphTimeout bounds the questions of all graphs together.
const graphTimeout = 3 * time.Second

// of returns the graphs of a span.
func (g *graphs) of(ctx context.Context, span Span) []chart.Graph {
	g.mu.Lock()
	defer g.mu.Unlock()
	if kept, ok := g.kept[span.Name]; ok && g.now().Before(kept.until) {
		return kept.all
	}
	ctx, cancel := context.WithTimeout(ctx, graphTimeout)
	defer cancel()
	at, keep := g.now(), min(span.step(), longestKept)
	var all []chart.Graph
	for _, q := range questions() {
		if g.from == nil {
			all = append(all, chart.Graph{Title: q.title, Unit: q.unit, Error: errNoPrometheus.Error()})
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

// graphsView is the graphs of a span.
type graphsView struct {
	Span  Span
	Spans []Span
	All   []chart.Graph
}

func (p *page) graphsView(ctx context.Context, name string) graphsView {
	span := spanOf(name)
	return graphsView{span, spans(), p.graphs.of(ctx, span)}
}
