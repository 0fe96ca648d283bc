// Package verdicts says how a consumer group fares, from what was seen of it: a
// state, and in words what shows it. It knows neither Kafka nor clocks; what it
// says follows from the samples alone, so a file of samples holds a verdict for
// good.
//
//   - verdicts.go has the states, and the verdict on a partition and on a group.
//   - sample.go is what one round saw of one partition that one group reads;
//     figures may be unknown, and unknown is never 0.
//   - timeline.go keeps the samples of one partition, bounded.
//   - judge.go judges a timeline, step by step; look.go is what the steps ask of
//     it, pace.go how fast a group reads, words.go how evidence is worded.
package verdicts

import (
	"slices"
	"time"

	"github.com/vigie-dev/vigie/internal/i18n"
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
	// Unassigned: the group is stable and reads the topic, and this partition has
	// no owner.
	Unassigned State = "unassigned"
	// Blocked: an open transaction holds back records from the group, which fares
	// no worse otherwise.
	Blocked State = "blocked"
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
		Losing, Stalled, Abandoned, Unassigned, Blocked, FallingBehind, Rewound, Unknown, CatchingUp, OK, Idle,
	}
}

// Worse says whether s is worse than another state.
func (s State) Worse(than State) bool {
	all := States()
	return slices.Index(all, s) < slices.Index(all, than)
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
	Evidence i18n.Text `json:"evidence"`
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
	// CatchUp is how long the group needs until nothing waits long, 0 where nothing
	// does, none where it does not get closer. Trend is how that changes.
	CatchUp Span  `json:"catchUpSeconds,omitzero"`
	Trend   Trend `json:"catchUpTrend,omitempty"`
	// ToLoss is how long it takes until retention deletes unread records if the
	// group reads none; none where retention deletes nothing unread.
	ToLoss Span `json:"secondsToLoss,omitzero"`
}

// String is the verdict in a line.
func (v Verdict) String() string { return string(v.State) + ": " + v.Evidence.String() }

// JudgeGroup says how a group fares as a whole, from the verdicts on its
// partitions: as on the worst of them, whose evidence it has. Its lag is the sum of
// what is known; times are the worst that are known.
func JudgeGroup(group string, partitions []Verdict) Verdict {
	whole := Verdict{Place: Place{Group: group}, State: Unknown, Evidence: i18n.Textf("no partition is known that it reads")}
	if len(partitions) == 0 {
		return whole
	}
	worst := slices.MinFunc(partitions, func(a, b Verdict) int {
		return slices.Index(States(), a.State) - slices.Index(States(), b.State)
	})
	whole.State, whole.Since, whole.Trend = worst.State, worst.Since, worst.Trend
	count, never := map[State]int{}, false
	for _, v := range partitions {
		count[v.State]++
		whole.Lag = sum(whole.Lag, v.Lag)
		whole.LagAge, whole.ToLoss = longer(whole.LagAge, v.LagAge), shorter(whole.ToLoss, v.ToLoss)
		if whole.CatchUp = longer(whole.CatchUp, v.CatchUp); v.CatchUp.IsNone() {
			never = true
		}
		if v.At.After(whole.At) {
			whole.At = v.At
		}
	}
	if never {
		whole.CatchUp = None[time.Duration]()
	}
	var others []i18n.Text
	for _, state := range States() {
		if n := count[state]; n > 0 && len(count) > 1 {
			others = append(others, i18n.Textf("%d %s", n, i18n.Phrase(string(state))))
		}
	}
	whole.Evidence = i18n.Textf("%s: %s", worst.Place.String(), worst.Evidence)
	if len(others) > 0 {
		whole.Evidence = i18n.Textf("%s (of %d partitions %s)", whole.Evidence, len(partitions), i18n.Join(", ", others...))
	}
	return whole
}

func sum(a, b Number) Number {
	x, known := a.Get()
	y, also := b.Get()
	switch {
	case !known:
		return b
	case !also:
		return a
	default:
		return Known(x + y)
	}
}

// longer and shorter choose between two times; one that is known counts before
// none, and none before unknown.
func longer(a, b Span) Span  { return pick(a, b, func(x, y time.Duration) bool { return x >= y }) }
func shorter(a, b Span) Span { return pick(a, b, func(x, y time.Duration) bool { return x <= y }) }

func pick(a, b Span, first func(x, y time.Duration) bool) Span {
	x, known := a.Get()
	y, also := b.Get()
	if known && also && first(x, y) || known && !also || !also && b.IsZero() {
		return a
	}
	return b
}
