package sentinelle

import (
	"github.com/vigie-dev/vigie/internal/banking"
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
	From    string `json:"from"`
	To      string `json:"to"`
	Rate    string `json:"rate"`    // records a second
	Lag     string `json:"lag"`     // records that wait; "" where nothing can
	Behind  string `json:"oldest"`  // how old the oldest of them is
	Letters string `json:"letters"` // dead letters in ten minutes; "" where none are made
	Late    bool   `json:"late"`    // somebody should look
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
	Text   string
	Second string // a line below it
	Gap    int    // how far below
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
	if way.Lag == "" {
		return
	}
	l.Second = "lag " + way.Lag
	if way.Late {
		l.Second = "▲ lag " + way.Lag + ", " + way.Behind
	}
	if l.Gap = gap; gap == 0 {
		l.Text, l.Second = l.Text+" · "+l.Second, ""
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
