package journeys

import (
	"github.com/vigie-dev/vigie/internal/banking"
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
