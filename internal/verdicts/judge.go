package verdicts

import "time"

// Rules are the bounds by which a timeline is judged.
type Rules struct {
	// Stale is how old the newest sample may be.
	Stale time.Duration
}

// DefaultRules are for rounds every few seconds.
func DefaultRules() Rules { return Rules{Stale: time.Minute} }

// Judge says how the group fares on the timeline's partition, seen at now. The
// same timeline at the same time has the same verdict.
func (r Rules) Judge(t *Timeline, now time.Time) Verdict {
	last, ok := t.Last()
	v := Verdict{Place: t.Place, State: Unknown, Evidence: "nothing has been seen yet", At: last.At}
	if ok {
		v.Lag, v.LagAge = last.Lag(), last.FirstUnread
		v.Evidence = "too little has been seen yet"
		if now.Sub(last.At) > r.Stale {
			v.Evidence = "nothing has been seen lately"
		}
	}
	return v
}

// JudgeGroup says how the group fares as a whole, from the verdicts on its
// partitions: as on the worst of them.
func JudgeGroup(group string, partitions []Verdict) Verdict {
	worst := Verdict{Place: Place{Group: group}, State: Unknown, Evidence: "no partition is known that it reads"}
	for _, v := range partitions {
		worst.Evidence = v.Evidence
	}
	return worst
}
