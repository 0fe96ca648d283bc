// Package journeys follows every order that was accepted to its end, from
// outside: it reads what the bank's topics say and asks nobody.
package journeys

// Outcome is what came of an order within its time. Each accepted order has one,
// once, for good.
type Outcome string

// The outcomes of an order.
const (
	// InTime: decided, and visible, within the objective.
	InTime Outcome = "in_time"
	// Late: its time was up before it was decided and visible, whatever came later.
	Late Outcome = "late"
	// DeadLettered: it stood among the dead letters when its time was up.
	DeadLettered Outcome = "dead_lettered"
	// Purged: it was given up before its time was up.
	Purged Outcome = "purged"
	// Lost: it was read by who decides and has neither decision nor dead letter.
	Lost Outcome = "lost"
	// Contradictory: its id was another order's, or it was decided in two ways.
	Contradictory Outcome = "contradictory"
)

// Outcomes returns every outcome, in a fixed order.
func Outcomes() []Outcome {
	return []Outcome{InTime, Late, DeadLettered, Purged, Lost, Contradictory}
}
