// Package journeys follows every order that was accepted to its end, from outside: it
// reads what the bank's topics say and asks nobody but the brokers. So an order that
// nobody decides counts as late when its time is up, not when it ends.
//
//   - outcome.go has what can come of an order.
//   - read.go says what a record tells of an order or of a dead letter.
//   - order.go has what is known of an order, how a record changes it, and what came
//     of it: pure functions.
//   - handler.go is what the delivery loop calls; store.go keeps the ledger.
//   - watch.go knows the moment up to which everything was seen, when what stood where, and
//     what others have read.
//   - ledger.go judges in intervals; metrics.go exports what it found.
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
	// Contradictory: its id was another order's, or it was decided in two ways, or for
	// another amount.
	Contradictory Outcome = "contradictory"
)

// Outcomes returns every outcome, in a fixed order.
func Outcomes() []Outcome {
	return []Outcome{InTime, Late, DeadLettered, Purged, Lost, Contradictory}
}
