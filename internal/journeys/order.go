// Package journeys follows every order that was accepted to its end, from outside: it
// reads what the bank's topics say and asks nobody but the brokers. So an order that
// nobody decides counts as late when its time is up, not when it ends.
//
//   - order.go has what can come of an order, what is known of one, how a record changes
//     that, and what came of it: pure functions.
//   - handler.go is what the delivery loop calls: it says what a record tells of an order or
//     of a dead letter. store.go keeps the ledger.
//   - ledger.go judges in intervals. Its watch knows the moment up to which everything was
//     seen, when what stood where, and what others have read. metrics.go exports what was found.
package journeys

import (
	"slices"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
)

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

// order is what is known of one order: an id and the event that created it.
type order struct {
	id, event string

	accepted micros // when its record was written, the first where there are several
	amount   banking.Money
	record   place // of the last record that holds it

	decided      micros
	result       int64 // a digest of the decision
	resultAmount banking.Money
	resultAt     place
	visible      micros // when the decision was seen to be shown

	aside  micros // when a record of it was first set aside
	back   micros // when the last letter of it was resolved; 0 while one waits
	purged micros

	contradictory bool
	outcome       Outcome // "" until it is counted
	touched       micros  // the newest record about it
}

// place is where a record stands, as the ledger writes it: its partition and, for a
// decision, its topic in one number.
type place struct{ log, offset int64 }

// placeOf names a place on one of the topics of orders and decisions.
func placeOf(at record.Place) place { return place{logOf(at.Partition), at.Offset} }

func logOf(p record.Partition) int64 {
	log := int64(p.ID) * 2
	if p.Topic == banking.TopicPaymentsRejected {
		log++
	}
	return log
}

// byLog names what is known of partitions in the same way.
func byLog(of map[record.Partition]int64) map[int64]int64 {
	out := make(map[int64]int64, len(of))
	for p, n := range of {
		out[logOf(p)] = n
	}
	return out
}

// stage is how far an order has come.
type stage int64

const (
	unknown   stage = iota // it is not known that it was accepted
	undecided              // it waits for its decision
	invisible              // it is decided, and waits for being shown
	isAside                // it waits among the dead letters
	ended                  // decided and visible, purged, or lost
)

func (o *order) stage() stage {
	switch {
	case o.accepted == 0:
		return unknown
	case o.visible != 0:
		return ended
	case o.decided != 0:
		return invisible
	case o.aside != 0 && o.back == 0:
		return isAside
	case o.purged != 0, o.outcome == Lost:
		return ended
	default:
		return undecided
	}
}

// namesakes are the orders of one id: one, unless the id was given twice or a decision
// names an order that is not there.
type namesakes []*order

// of returns the order of an event, which is added where it is new.
func (n *namesakes) of(id, event string) *order {
	for _, o := range *n {
		if o.event == event {
			return o
		}
	}
	o := &order{id: id, event: event}
	*n = append(*n, o)
	return o
}

// created returns those that are known to have been accepted.
func (n namesakes) created() namesakes {
	return slices.DeleteFunc(slices.Clone(n), func(o *order) bool { return o.accepted == 0 })
}

// take takes what a record says of an order of these. Facts may come in any order, but
// those of one partition.
func (n *namesakes) take(f *fact) {
	switch f.kind {
	case accepted:
		n.accept(f)
	case decided:
		n.decide(f)
	case resolved:
		if o := n.of(f.order, f.event); o.purged == 0 {
			o.purged = f.at
			o.touched = max(o.touched, f.at)
		}
	case setAside: // what waits is known from the letters: see [letterState.on]
		o := n.of(f.order, f.event)
		o.touched = max(o.touched, f.at)
	case nothing:
	}
}

func (n *namesakes) accept(f *fact) {
	o := n.of(f.order, f.event)
	o.touched, o.record = max(o.touched, f.at), placeOf(f.place)
	if o.accepted != 0 { // published again: a replay, or a try of which nobody knew that it had arrived
		o.contradictory = o.contradictory || o.amount != f.amount
		return
	}
	first := len(n.created()) == 0
	o.accepted, o.amount, o.contradictory = f.at, f.amount, o.contradictory || !first
	if blank := n.of(f.order, ""); first && o != blank && o.decided == 0 && blank.decided != 0 { // it can only be this one's
		o.decided, o.result, o.resultAmount, o.resultAt = blank.decided, blank.result, blank.resultAmount, blank.resultAt
		blank.decided = 0
	}
	o.complete(f)
}

func (n *namesakes) decide(f *fact) {
	event := f.event
	if created := n.created(); event == "" && len(created) == 1 {
		event = created[0].event
	}
	o := n.of(f.order, event)
	o.touched = max(o.touched, f.at)
	if o.decided != 0 { // published again, or another decision
		o.contradictory = o.contradictory || o.result != f.result || o.resultAmount != f.amount
		return
	}
	o.decided, o.result, o.resultAmount, o.resultAt = f.at, f.result, f.amount, placeOf(f.place)
	o.complete(f)
}

// complete compares order and decision once both are known.
func (o *order) complete(f *fact) {
	if o.accepted == 0 || o.decided == 0 {
		return
	}
	o.contradictory = o.contradictory || o.amount != o.resultAmount
	took := max(0, o.decided-o.accepted)
	f.took = &took
}

// horizon is what orders are judged by.
type horizon struct {
	objective micros
	seen      micros // all that was written before has been read
	// passed says how far who decides is with a record, where all it has published has been
	// read; nil at the start, when that is not known of any.
	passed func(record place) progress
}

// progress is how far who decides is with a record.
type progress int

const (
	ahead      progress = iota // it has not committed it
	committing                 // it has, and may not have published all that it decided
	done                       // it has published all
)

// judge returns what came of the order, or "" where that is still open. An order whose
// time is up is judged as it stood then, by the times of its records.
func (o *order) judge(h horizon) Outcome {
	due := o.accepted + h.objective
	pending := o.decided == 0 && (o.aside == 0 || o.back != 0) && o.purged == 0
	at, known := ahead, h.passed != nil
	if pending && known && o.accepted != 0 && o.back < h.seen { // else the copy that was replayed may not have been read
		at = h.passed(o.record)
	}
	switch {
	case o.accepted == 0 || o.outcome != "":
		return o.outcome
	case o.contradictory:
		return Contradictory
	case o.visible != 0 && o.visible <= due:
		return InTime
	case o.decided == 0 && o.purged != 0 && o.purged <= due:
		return Purged
	case at == done:
		return Lost
	case due > h.seen, pending && (!known || at == committing):
		return ""
	case o.aside != 0 && o.aside <= due && (o.back == 0 || o.back > due):
		return DeadLettered
	default:
		return Late
	}
}
