package groups

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vigie-dev/vigie/internal/verdicts"
)

// Whatever a commit and a log say, however they contradict each other, the lag is
// unknown with its reason, or between nothing and all that the log has.
func TestLagIsKnownAndBoundedOrUnknownWithItsReason(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		offset := rapid.Int64Range(-1, 12)
		number := func(name string) verdicts.Number { return verdicts.Known(offset.Draw(t, name)) } // -1 is none
		r := &Reading{log: &Partition{Oldest: number("oldest"), Stable: number("stable"), End: number("end")}, Committed: number("committed")}
		if rapid.Bool().Draw(t, "unseen") {
			r.log = &Partition{Why: "it was not asked"}
		}
		before := &track{committed: offset.Draw(t, "before"), topic: [16]byte{byte(rapid.IntRange(0, 1).Draw(t, "topic"))}}
		r.measure(before, [16]byte{}, rapid.Bool().Draw(t, "uncommitted"))
		lag, known := r.Lag.Get()
		if !known {
			if r.Why == "" || !slices.Contains(unknowns(), r.Case) || !r.Age.IsZero() {
				t.Fatalf("%+v", *r)
			}
			return
		}
		oldest, _ := r.log.Oldest.Get()
		end, _ := r.log.End.Get()
		stable, _ := r.log.Stable.Get()
		if lag < 0 || lag > max(0, max(end, stable)-max(0, oldest)) {
			t.Fatalf("lag %d of %+v in %+v", lag, *r, *r.log)
		}
		if lag == 0 && !r.Age.IsNone() {
			t.Fatalf("%+v", *r)
		}
	})
}

// What is remembered of a log's length says since when at least there is something
// at an offset: never too early, and bounded.
func TestHistoryNeverSaysTooMuch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h history
		begin := time.Unix(1_000_000, 0)
		first := map[int64]time.Time{} // offset → when the log was first seen beyond it
		end := int64(0)
		for i := range 200 {
			end += rapid.Int64Range(0, 3).Draw(t, "written")
			at := begin.Add(time.Duration(i) * time.Second)
			h.add(at, end)
			for o := end - 1; o >= 0 && first[o].IsZero(); o-- {
				first[o] = at
			}
		}
		if len(h.entries) > historyLimit {
			t.Fatalf("%d entries", len(h.entries))
		}
		now := begin.Add(time.Hour)
		for o, at := range first {
			if seen := h.seen(o, now); seen.Before(at) {
				t.Fatalf("offset %d seen at %v, before %v", o, seen, at)
			}
		}
	})
}
