package crash

import "time"

// answer is what a client was told about one request.
type answer struct {
	Request string // the order's userId, which no other request has
	Cents   int64
	Status  int // 0: no answer came
	OrderID string
	EventID string
}

// shown is what suivi shows of an order.
type shown struct {
	Status string
	Cents  int64
	Events []string // types
}

// totals is what analyseur says.
type totals struct {
	Transactions, Authorized, Rejected int64
	Cents                              int64
}

// evidence is all that is known after a round, from four independent sides.
type evidence struct {
	Answers []answer
	Records map[string][]record // by topic
	Poison  map[position]record // records that we put among them
	Suivi   map[string]shown
	// SuiviTotal is how many orders suivi says there are.
	SuiviTotal int64
	Totals     totals
}

// verdict is what the evidence amounts to.
type verdict struct {
	Acknowledged int // orders that clients were told of
	Unanswered   int // requests whose outcome their client does not know
	Created      int // orders in the log
	Decided      int
	DeadLettered int
	// Republished counts records beyond the first with their event id, which
	// readers have to drop.
	Republished int
	// Back is how long after the repair orders were taken again, and Rest how
	// long after the load's end everything had been processed.
	Back, Rest time.Duration
	// Violations are broken promises, each with the order it concerns.
	Violations []string
}
