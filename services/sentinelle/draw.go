package sentinelle

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/chart"
	"github.com/vigie-dev/vigie/internal/i18n"
	"github.com/vigie-dev/vigie/internal/service"
)

// Map is the bank drawn: services and topics, with what flows between them. It is
// drawn twice, for wide and for narrow windows, and written as a table, which has
// every way there is.
type Map struct {
	Wide, Tall Drawing
	Ways       []Way
}

// Way is what goes from a service to a topic, or from a topic to a service.
type Way struct {
	From    string    `json:"from"`
	To      string    `json:"to"`
	Rate    i18n.Text `json:"rate"`    // records a second
	Lag     i18n.Text `json:"lag"`     // records that wait; "" where nothing can
	Behind  i18n.Text `json:"oldest"`  // how old the oldest of them is
	Letters i18n.Text `json:"letters"` // dead letters in ten minutes; "" where none are made
	Late    bool      `json:"late"`    // somebody should look
}

// lateAfter is from when on a way is marked, in seconds of lag.
const lateAfter = 30

// ways returns every way of the bank with its figures.
func ways(around service.Surroundings, f figures) []Way {
	var all []Way
	for _, p := range around.Peers {
		for _, topic := range p.Writes {
			at := place{service: p.Name, topic: topic}
			all = append(all, Way{From: p.Name, To: topic, Rate: f.number(figProduced, at).rate()})
		}
		for _, topic := range p.Reads {
			at := place{service: p.Name, topic: topic}
			behind, letters := f.number(figLagSeconds, at), f.number(figLetters, at)
			all = append(all, Way{
				From: topic, To: p.Name, Rate: f.number(figConsumed, at).rate(),
				Lag: f.number(figLag, at).count(), Behind: behind.seconds(), Letters: letters.count(),
				Late: behind.Value > lateAfter || letters.Value >= 0.5,
			})
		}
	}
	return all
}

// Drawing is a map as SVG.
type Drawing struct {
	Width, Height int
	Boxes         []Box
	Lines         []Line
}

// Box is a service or a topic.
type Box struct {
	X, Y, Width, Height int
	Name                string
	Kind                string // service, topic or letters
	State               string // of a service; "" otherwise
	Mark                string // the same as a sign
	Note                string
}

// Middle is where its text stands.
func (b Box) Middle() int { return b.X + b.Width/2 }

// Line is a way between two of them.
type Line struct {
	Path   string
	Kind   string // flow or letters
	X, Y   int    // of its text
	Text   i18n.Text
	Second i18n.Text // a line below it
	Gap    int       // how far below
	Late   bool
}

// spot is where a box stands, and stroke how a line goes.
type (
	spot struct {
		name, kind  string
		x, y, width int
	}
	stroke struct {
		from, to string
		path     string
		x, y     int // of its text
		gap      int // of a second line of text below; 0 for all in one line
	}
	plan struct {
		width, height int
		spots         []spot
		strokes       []stroke
	}
)

const boxHeight = 46

// drawMap draws the bank as it was seen.
func drawMap(around service.Surroundings, s *Snapshot) Map {
	all := ways(around, s.Figures)
	return Map{Wide: widePlan().draw(s, all), Tall: tallPlan().draw(s, all), Ways: all}
}

func (p plan) draw(s *Snapshot, all []Way) Drawing {
	d := Drawing{Width: p.width, Height: p.height}
	states := map[string]Service{}
	for _, service := range s.Services {
		states[service.Name] = service
	}
	for _, at := range p.spots {
		b := Box{X: at.x, Y: at.y, Width: at.width, Height: boxHeight, Name: at.name, Kind: at.kind}
		if at.kind == "service" {
			b.State, b.Mark = boxState(states[at.name].State)
			b.Note = b.State
		}
		d.Boxes = append(d.Boxes, b)
	}
	for _, line := range p.strokes {
		drawn := Line{Path: line.path, X: line.x, Y: line.y, Kind: "flow"}
		for _, way := range all {
			if way.From == line.from && way.To == line.to {
				drawn.label(way, line.gap)
			}
		}
		if line.to == banking.TopicOrdersDLQ || line.to == banking.TopicPaymentsDLQ {
			drawn.Kind = "letters"
		}
		d.Lines = append(d.Lines, drawn)
	}
	return d
}

// label writes a way's figures on its line.
func (l *Line) label(way Way, gap int) {
	l.Text, l.Late = way.Rate, way.Late
	if way.Lag.IsZero() {
		return
	}
	l.Second = i18n.Textf("lag %s", way.Lag)
	if way.Late {
		l.Second = i18n.Textf("▲ lag %s, %s", way.Lag, way.Behind)
	}
	if l.Gap = gap; gap == 0 {
		l.Text, l.Second = i18n.Join(" · ", l.Text, l.Second), i18n.Text{}
	}
}

// boxState is a service's state, and its sign.
func boxState(state string) (word, mark string) {
	switch state {
	case serviceReady:
		return state, "✓"
	case "":
		return "not known", "?"
	default:
		return state, "▲"
	}
}

// widePlan is the map for a wide window: orders go from left to right.
func widePlan() plan {
	const service, topic, letters = "service", "topic", "letters"
	return plan{
		width: 1040, height: 340,
		spots: []spot{
			{"commande", service, 5, 117, 125}, {banking.TopicOrdersCreated, topic, 205, 117, 145},
			{"paiement", service, 425, 117, 125},
			{banking.TopicPaymentsAuthorized, topic, 625, 58, 172}, {banking.TopicPaymentsRejected, topic, 625, 178, 172},
			{"suivi", service, 920, 58, 115}, {"analyseur", service, 920, 178, 115},
			{banking.TopicOrdersDLQ, letters, 417, 285, 140}, {banking.TopicPaymentsDLQ, letters, 640, 285, 142},
		},
		strokes: []stroke{
			{"commande", banking.TopicOrdersCreated, "M130 140 H198", 165, 131, 0},
			{banking.TopicOrdersCreated, "paiement", "M350 140 H418", 385, 131, 24},
			{banking.TopicOrdersCreated, "suivi", "M277 117 V44 Q277 22 299 22 H955 Q977 22 977 44 V51", 620, 15, 0},
			{"paiement", banking.TopicPaymentsAuthorized, "M550 132 C592 132 580 81 618 81", 566, 92, 0},
			{"paiement", banking.TopicPaymentsRejected, "M550 148 C592 148 580 201 618 201", 566, 196, 0},
			{banking.TopicPaymentsAuthorized, "suivi", "M797 74 H913", 855, 66, 0},
			{banking.TopicPaymentsAuthorized, "analyseur", "M797 90 C870 90 840 194 913 194", 838, 108, 0},
			{banking.TopicPaymentsRejected, "suivi", "M797 194 C870 194 840 90 913 90", 838, 184, 0},
			{banking.TopicPaymentsRejected, "analyseur", "M797 210 H913", 855, 228, 0},
			{"paiement", banking.TopicOrdersDLQ, "M487 163 V278", 508, 228, 0},
			{"analyseur", banking.TopicPaymentsDLQ, "M977 224 V286 Q977 308 955 308 H789", 870, 300, 0},
		},
	}
}

// tallPlan is the map for a narrow window: orders go from top to bottom.
func tallPlan() plan {
	const service, topic, letters = "service", "topic", "letters"
	return plan{
		width: 340, height: 560,
		spots: []spot{
			{"commande", service, 95, 6, 150}, {banking.TopicOrdersCreated, topic, 95, 96, 150},
			{"paiement", service, 95, 190, 150},
			{banking.TopicPaymentsAuthorized, topic, 4, 300, 160}, {banking.TopicPaymentsRejected, topic, 176, 300, 160},
			{"suivi", service, 14, 420, 140}, {"analyseur", service, 186, 420, 140},
			{banking.TopicOrdersDLQ, letters, 4, 508, 160}, {banking.TopicPaymentsDLQ, letters, 176, 508, 160},
		},
		strokes: []stroke{
			{"commande", banking.TopicOrdersCreated, "M170 52 V88", 205, 76, 15},
			{banking.TopicOrdersCreated, "paiement", "M170 142 V182", 205, 160, 15},
			{"paiement", banking.TopicPaymentsAuthorized, "M140 236 C140 268 84 262 84 292", 70, 270, 15},
			{"paiement", banking.TopicPaymentsRejected, "M200 236 C200 268 256 262 256 292", 272, 270, 15},
			{banking.TopicPaymentsAuthorized, "suivi", "M70 346 V412", 40, 372, 15},
			{banking.TopicPaymentsAuthorized, "analyseur", "M110 346 C110 384 230 374 230 412", 0, 0, 15},
			{banking.TopicPaymentsRejected, "suivi", "M230 346 C230 384 110 374 110 412", 0, 0, 15},
			{banking.TopicPaymentsRejected, "analyseur", "M270 346 V412", 300, 372, 15},
			{"analyseur", banking.TopicPaymentsDLQ, "M256 466 V500", 0, 0, 15},
		},
	}
}

// Span is how far back a graph looks.
type Span struct {
	Name string // as it stands in addresses: 15m
	Text i18n.Text
	Time time.Duration
}

// spans are those that a graph can have, the first where none is asked for. All
// have about a hundred and twenty points.
func spans() []Span {
	return []Span{
		{"15m", i18n.Textf("15 minutes"), 15 * time.Minute}, {"1h", i18n.Textf("1 hour"), time.Hour}, {"6h", i18n.Textf("6 hours"), 6 * time.Hour},
		{"1d", i18n.Textf("1 day"), 24 * time.Hour}, {"7d", i18n.Textf("7 days"), 7 * 24 * time.Hour},
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

// questionLine is one of a graph's lines; the service's where it has no name.
type questionLine struct {
	name i18n.Text
	expr string
}

// question is one of the page's graphs.
type question struct {
	title, unit i18n.Text
	lines       []questionLine // RANGE stands for what rates look back over
}

func questions() []question {
	return []question{
		{i18n.Textf("Orders and decisions"), i18n.Textf("per second"), []questionLine{
			{i18n.Textf("orders"), `sum(rate(orders_total[RANGE]))`},
			{i18n.Textf("authorised"), `sum(rate(payments_total{status="authorized"}[RANGE]))`},
			{i18n.Textf("rejected"), `sum(rate(payments_total{status="rejected"}[RANGE]))`},
		}},
		{i18n.Textf("Lag, as the age of the oldest record"), i18n.Textf("seconds"), []questionLine{
			{i18n.Text{}, `max by (service) (kafka_consumer_lag_seconds)`},
		}},
		{i18n.Textf("Latency, 95%% take less"), i18n.Textf("milliseconds"), []questionLine{
			{i18n.Verbatim("POST /orders"), `1000 * histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{service="commande",route="/orders",status_code="201"}[RANGE])))`},
			{i18n.Textf("paiement, a record"), `1000 * histogram_quantile(0.95, sum by (le) (rate(kafka_message_processing_duration_seconds_bucket{service="paiement",topic="orders.created"}[RANGE])))`},
		}},
	}
}

// ask reads a graph's data and draws it.
func (q question) ask(ctx context.Context, from prometheus, in *i18n.Language, span Span, now time.Time) chart.Graph {
	end := now.Truncate(span.step())
	start := end.Add(-span.Time)
	window := max(minRange, 2*span.step())
	var all []chart.Series
	for _, line := range q.lines {
		expr := strings.ReplaceAll(line.expr, "RANGE", fmt.Sprintf("%ds", int(window.Seconds())))
		matrix, err := from.Matrix(ctx, expr, start, end, span.step())
		if err != nil {
			return q.without(in, i18n.ErrorText(err))
		}
		for _, stream := range matrix {
			name := line.name
			if name.IsZero() {
				name = i18n.Verbatim(string(stream.Metric["service"]))
			}
			all = append(all, seriesOf(in.Say(name), stream.Values))
		}
	}
	if len(all) == 0 {
		return q.without(in, i18n.Textf("Prometheus has no data of this time."))
	}
	return chart.Draw(q.config(in, start, end, span), all...)
}

// without is its graph where there is none, and says why.
func (q question) without(in *i18n.Language, why i18n.Text) chart.Graph {
	return chart.Graph{Title: in.Say(q.title), Unit: in.Say(q.unit), Error: in.Say(why), Language: in}
}

// config says what its graph is of.
func (q question) config(in *i18n.Language, start, end time.Time, span Span) chart.Config {
	layout := "15:04"
	if span.Time > 24*time.Hour {
		layout = in.Sayf("2 Jan")
	}
	return chart.Config{
		Title: in.Say(q.title), Unit: in.Say(q.unit), Language: in, Start: start, End: end, Over: in.Say(span.Text), Step: span.step(),
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
	in   *i18n.Language
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
			all = append(all, q.without(g.in, i18n.ErrorText(errNoPrometheus)))
			continue
		}
		drawn := q.ask(ctx, g.from, g.in, span, at)
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
