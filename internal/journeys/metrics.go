package journeys

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/telemetry"
)

// Names of the metrics.
const (
	JourneysTotal       = "order_journeys_total"
	DecisionSeconds     = "order_decision_seconds"
	VisibleSeconds      = "order_visible_seconds"
	OrdersWaiting       = "orders_waiting"
	OrdersOldestWaiting = "orders_oldest_waiting_seconds"
	LettersWaiting      = "dead_letters_waiting"
	LettersOldest       = "dead_letters_oldest_waiting_seconds"
	Unseen              = "order_journeys_unseen_seconds"
)

// maxReasons bounds the label reason: those that loops give, and one for all others.
const maxReasons = 16

// blindAfter is how old what was seen may be before nothing is said of what waits.
const blindAfter = micros(10e6)

// Catalogue returns the metrics of journeys.
func Catalogue() telemetry.Catalogue {
	buckets := []float64{.01, .025, .05, .1, .25, .5, 1, 2, 3, 4, 5, 7.5, 10, 30, 60, 300, 1800}
	deadLetters := []string{banking.TopicOrdersDLQ, banking.TopicPaymentsDLQ}
	return telemetry.Catalogue{
		{
			Name: JourneysTotal, Kind: telemetry.Counter, Labels: []string{"outcome"}, MaxSeries: len(Outcomes()),
			Bound: "in_time, late, dead_lettered, purged, lost or contradictory",
			Help: "Accepted orders by what came of them within their time, counted once each: when they end, or when their time is up. " +
				"It goes on where it was after a restart; every instance has the whole: take the maximum over instances, not the sum.",
		},
		{
			Name: DecisionSeconds, Kind: telemetry.Histogram, Unit: "s", Buckets: buckets,
			Help: "From an order's record to that of its decision, by the records' times.",
		},
		{
			Name: VisibleSeconds, Kind: telemetry.Histogram, Unit: "s", Buckets: buckets,
			Help: "From an order's record until its decision was seen to be shown, at most about a second too long; only of orders that were watched all the way.",
		},
		{
			Name: OrdersWaiting, Kind: telemetry.Gauge,
			Help: "Accepted orders that are not decided and visible, nor set aside. No series while that cannot be known.",
		},
		{
			Name: OrdersOldestWaiting, Kind: telemetry.Gauge, Unit: "s",
			Help: "Age of the oldest order that waits, 0 for none. No series while that cannot be known.",
		},
		{
			Name: LettersWaiting, Kind: telemetry.Gauge, Labels: []string{"topic", "reason"}, MaxSeries: len(deadLetters) * maxReasons,
			Bound: "the topics of dead letters; the reasons that services give, and other",
			Help:  "Records that were set aside and neither replayed nor purged, by the topic where they wait. No series while that cannot be known.",
		},
		{
			Name: LettersOldest, Kind: telemetry.Gauge, Unit: "s",
			Help: "How long the oldest dead letter has waited, 0 for none. No series while that cannot be known.",
		},
		{
			Name: Unseen, Kind: telemetry.Gauge, Unit: "s",
			Help: "Age of the moment up to which the bank's topics have been read and judged: about a second while all is well; it grows while Kafka or the storage is away, or the reading is behind.",
		},
	}
}

// export shows at each scrape what was last counted.
func (l *Ledger) export(instruments *telemetry.Instruments) (metric.Registration, error) {
	return instruments.Observe([]string{JourneysTotal, OrdersWaiting, OrdersOldestWaiting, LettersWaiting, LettersOldest, Unseen}, l.observe)
}

// figures are what the ledger says at one moment.
type figures struct {
	since    micros // when this instance began
	seen     micros // all that was written before is in the figures; 0: not known
	outcomes map[Outcome]int64
	waiting  int64
	oldest   micros // accepted then; 0 for none
	letters  map[letterKind]waitingLetters
}

type letterKind struct{ topic, reason string }

type waitingLetters struct {
	count int64
	since micros
}

// figures reads them.
func (s store) figures(ctx context.Context) (figures, error) {
	f := figures{outcomes: map[Outcome]int64{}, letters: map[letterKind]waitingLetters{}}
	err := s.each(ctx, selectOutcomes, nil, func(rows *storage.Rows) error {
		var name Outcome
		var n int64
		err := rows.Scan(&name, &n)
		f.outcomes[name] = n
		return err
	})
	if err != nil {
		return f, err
	}
	err = s.each(ctx, selectWaiting, nil, func(rows *storage.Rows) error { return rows.Scan(&f.waiting, &f.oldest) })
	if err != nil {
		return f, err
	}
	err = s.each(ctx, selectSetAside, nil, func(rows *storage.Rows) error {
		var kind letterKind
		var w waitingLetters
		err := rows.Scan(&kind.topic, &kind.reason, &w.count, &w.since)
		f.letters[kind] = w
		return err
	})
	return f, err
}

// count reads what there is to export; all that was written before seen is in it.
func (l *Ledger) count(ctx context.Context, seen micros) error {
	f, err := l.store.figures(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f.since, f.seen = l.figures.since, seen
	l.figures = f
	return nil
}

// Report is what a ledger says at one moment.
type Report struct {
	// Outcomes are the orders that were counted.
	Outcomes map[Outcome]int64 `json:"outcomes"`
	// UnseenSeconds is the age of the moment up to which everything was seen. Known says whether that
	// is recent enough to tell what waits; where it is not, the rest is zero.
	UnseenSeconds float64 `json:"unseenSeconds"`
	Known         bool    `json:"known"`
	// Waiting are orders, and Letters what was set aside; each with the age of the oldest.
	Waiting              int64   `json:"waiting"`
	OldestWaitingSeconds float64 `json:"oldestWaitingSeconds"`
	Letters              int64   `json:"letters"`
	OldestLetterSeconds  float64 `json:"oldestLetterSeconds"`

	letters map[letterKind]waitingLetters
}

// Report says what was last found. What was counted stays true while nothing can be seen; what
// waits is then not known.
func (l *Ledger) Report() Report {
	l.mu.Lock()
	f := l.figures
	l.mu.Unlock()
	now := l.watch.now()
	unseen := now - max(f.seen, f.since)
	r := Report{Outcomes: map[Outcome]int64{}, UnseenSeconds: unseen.seconds(), Known: f.seen != 0 && unseen <= blindAfter}
	for _, outcome := range Outcomes() {
		r.Outcomes[outcome] = f.outcomes[outcome]
	}
	if !r.Known {
		return r
	}
	age := func(since micros) float64 {
		if since == 0 {
			return 0
		}
		return max(0, now-since).seconds()
	}
	var first micros
	for _, w := range f.letters {
		r.Letters += w.count
		if w.since != 0 && (first == 0 || w.since < first) {
			first = w.since
		}
	}
	r.Waiting, r.OldestWaitingSeconds, r.OldestLetterSeconds, r.letters = f.waiting, age(f.oldest), age(first), f.letters
	return r
}

// observe gives a scrape what was last found.
func (l *Ledger) observe(_ context.Context, o telemetry.Observation) error {
	r := l.Report()
	for _, outcome := range Outcomes() {
		o.Counter(JourneysTotal, r.Outcomes[outcome], metric.WithAttributes(attribute.String("outcome", string(outcome))))
	}
	o.Gauge(Unseen, r.UnseenSeconds)
	if !r.Known {
		return nil
	}
	o.Gauge(OrdersWaiting, float64(r.Waiting))
	o.Gauge(OrdersOldestWaiting, r.OldestWaitingSeconds)
	for _, topic := range []string{banking.TopicOrdersDLQ, banking.TopicPaymentsDLQ} {
		for _, reason := range append(slices.Clone(delivery.Reasons()), "other") {
			w := r.letters[letterKind{topic, reason}]
			o.Gauge(LettersWaiting, float64(w.count), metric.WithAttributes(attribute.String("topic", topic), attribute.String("reason", reason)))
		}
	}
	o.Gauge(LettersOldest, r.OldestLetterSeconds)
	return nil
}
