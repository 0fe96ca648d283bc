// Package verdicts says how a consumer group fares, from what was seen of it: a
// state, and in words what shows it. It knows neither Kafka nor clocks; what it
// says follows from the samples alone, so a file of samples holds a verdict for
// good.
//
//   - verdicts.go has the states, and the verdict on a partition and on a group.
//   - sample.go is what one round saw of one partition that one group reads;
//     figures may be unknown, and unknown is never 0.
//   - timeline.go keeps the samples of one partition, bounded, and as JSON lines.
//   - judge.go judges a timeline.
package verdicts

import (
	"time"
)

// State is how a group fares, on one partition or as a whole.
type State string

// The states, from the worst to the best.
const (
	// Losing: retention has deleted records that the group has not read, or will
	// before it gets there.
	Losing State = "losing"
	// Stalled: records wait, the group has members, and the commit does not move.
	Stalled State = "stalled"
	// Abandoned: records wait, and nobody in the group reads them.
	Abandoned State = "abandoned"
	// Blocked: the group has read all that it may, and an open transaction holds
	// back what follows.
	Blocked State = "blocked"
	// Unassigned: the group is stable and reads the topic, and this partition has
	// no owner.
	Unassigned State = "unassigned"
	// FallingBehind: the group reads, and what waits grows older or does not get
	// less.
	FallingBehind State = "falling-behind"
	// Rewound: the commit went back, and what has been processed once is read again.
	Rewound State = "rewound"
	// Unknown: too little is known for any other state.
	Unknown State = "unknown"
	// CatchingUp: records have waited long, and get fewer.
	CatchingUp State = "catching-up"
	// OK: what arrives is read.
	OK State = "ok"
	// Idle: nothing waits, and nothing arrives.
	Idle State = "idle"
)

// States returns all states, from the worst to the best.
func States() []State {
	return []State{
		Losing, Stalled, Abandoned, Blocked, Unassigned, FallingBehind, Rewound, Unknown, CatchingUp, OK, Idle,
	}
}

// Trend says how the time to catch up changes.
type Trend string

// The trends. The empty one is not known.
const (
	Sooner Trend = "sooner"
	Steady Trend = "steady"
	Later  Trend = "later"
)

// Verdict is how a group fares on one partition, or as a whole.
type Verdict struct {
	Place
	State State `json:"state"`
	// Evidence shows the state in words and figures. It is never empty.
	Evidence string `json:"evidence"`
	// Since is when the first sample was taken from which on the state shows, the
	// zero time where that is not known.
	Since time.Time `json:"since,omitzero"`
	// At is when the newest sample was taken.
	At time.Time `json:"at,omitzero"`
	// Lag is how many offsets the group has not processed.
	Lag Number `json:"lag,omitzero"`
	// LagAge is the age of the first unprocessed data record, none where there is
	// no such record.
	LagAge Span `json:"lagSeconds,omitzero"`
	// CatchUp is how long the group needs until nothing waits, none where it does
	// not get closer. Trend is how that changes.
	CatchUp Span  `json:"catchUpSeconds,omitzero"`
	Trend   Trend `json:"catchUpTrend,omitempty"`
	// ToLoss is how long it takes until retention deletes unread records if the
	// group reads none; none where retention deletes nothing unread.
	ToLoss Span `json:"secondsToLoss,omitzero"`
}

// String is the verdict in a line.
func (v Verdict) String() string { return string(v.State) + ": " + v.Evidence }
