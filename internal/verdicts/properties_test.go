package verdicts_test

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vigie-dev/vigie/internal/verdicts"
)

// round is what happened to a partition between two rounds: what was written, what
// was read and committed, and who was there.
type round struct {
	passed                     time.Duration
	written, read              int64
	back, deleted              int64
	members                    int64
	unseen, stuck, owned, aged bool
}

var life = rapid.Custom(func(t *rapid.T) []round {
	phase := rapid.Custom(func(t *rapid.T) []round {
		r := round{
			passed:  time.Duration(rapid.SampledFrom([]int{5, 10, 10, 10, 15, 40}).Draw(t, "passed")) * time.Second,
			written: rapid.SampledFrom([]int64{0, 0, 1, 7, 30, 500}).Draw(t, "written"),
			read:    rapid.SampledFrom([]int64{0, 0, 1, 7, 20, 40, 10_000}).Draw(t, "read"),
			members: rapid.SampledFrom([]int64{2, 2, 1, 0}).Draw(t, "members"),
			unseen:  rapid.SampledFrom([]bool{false, false, false, true}).Draw(t, "unseen"),
			stuck:   rapid.SampledFrom([]bool{false, false, true}).Draw(t, "stuck"),
			owned:   rapid.SampledFrom([]bool{true, true, false}).Draw(t, "owned"),
			aged:    rapid.Bool().Draw(t, "aged"),
			back:    rapid.SampledFrom([]int64{0, 0, 0, 0, 50}).Draw(t, "back"),
			deleted: rapid.SampledFrom([]int64{0, 0, 0, 100}).Draw(t, "deleted"),
		}
		rounds := make([]round, rapid.IntRange(1, 20).Draw(t, "rounds"))
		for i := range rounds {
			rounds[i] = r
			rounds[i].back, rounds[i].deleted = 0, r.deleted/20
		}
		rounds[0].back = r.back
		return rounds
	})
	var all []round
	for _, p := range rapid.SliceOfN(phase, 1, 5).Draw(t, "phases") {
		all = append(all, p...)
	}
	return all
})

// write is a batch in the simulated log.
type write struct {
	end int64
	at  time.Time
}

// live makes the samples of a life, and says of each for how long the oldest unread
// record has been there, 0 where nothing waits. more is what is written on top of
// it in each round, and backlog what is never read at the end.
func live(rounds []round, backlog int64, more []int64) (samples []verdicts.Sample, waits []time.Duration) {
	at, end, committed, oldest := start, int64(1000)+backlog, int64(1000), int64(1000)
	held, heldStable := int64(0), int64(0) // where an open transaction began
	extra := int64(0)
	log := []write{{end, at}}
	for i, r := range rounds {
		at = at.Add(r.passed)
		began, beganStable := end, end+extra
		end += r.written
		if i < len(more) {
			extra += more[i]
		}
		log = append(log, write{end + extra, at})
		if !r.stuck {
			held, heldStable = 0, 0
		} else if held == 0 {
			held, heldStable = began, beganStable
		}
		// What is read does not depend on what is written on top.
		limit := max(1000, end-backlog)
		if held > 0 {
			limit = min(limit, held)
		}
		committed = max(committed, min(committed+r.read, limit))
		committed = max(1000, committed-r.back)
		oldest = min(limit, oldest+r.deleted)
		readable := end + extra
		if held > 0 {
			readable = heldStable
		}
		s := verdicts.Sample{
			At: at, Oldest: verdicts.Known(oldest), End: verdicts.Known(end + extra), Stable: verdicts.Known(readable), Committed: verdicts.Known(committed),
			Group: &verdicts.Group{State: "Stable", Members: verdicts.Known(r.members), Readers: verdicts.Known(r.members)}, Owner: "one",
			Topic: &verdicts.Topic{ID: "one", Retention: verdicts.Known(time.Hour), RetentionBytes: verdicts.Known[int64](1 << 20)},
		}
		if r.members == 0 {
			s.Group.State = "Empty"
		}
		if r.members == 0 || !r.owned {
			s.Owner = verdicts.Nobody
		}
		if r.unseen {
			s.Stable, s.End, s.Oldest, s.Why = verdicts.Number{}, verdicts.Number{}, verdicts.Number{}, "the broker did not answer"
		}
		waited := time.Duration(0)
		if next := max(committed, oldest); readable > next {
			for _, w := range log {
				if w.end > next {
					waited = at.Sub(w.at)
					break
				}
			}
		}
		samples, waits = append(samples, s), append(waits, waited)
	}
	return samples, waits
}

// judge judges the samples as a watcher would, one by one.
func judge(t *rapid.T, samples []verdicts.Sample, limit int) []verdicts.Verdict {
	line := verdicts.NewTimeline(place, limit)
	var all []verdicts.Verdict
	for _, s := range samples {
		if err := line.Add(s); err != nil {
			t.Fatal(err)
		}
		all = append(all, verdicts.DefaultRules().Judge(line, s.At))
	}
	return all
}

func TestNoStateWithoutEvidenceNeverOKWhileRecordsAge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rounds := life.Draw(t, "life")
		samples, waits := live(rounds, 0, nil)
		for i := range samples {
			if rounds[i].aged && waits[i] > 0 && !rounds[i].unseen {
				samples[i].FirstUnread = verdicts.Known(waits[i])
			}
		}
		// What a group may take between two commits: twice the longest that it did.
		usual, rested := time.Duration(0), time.Duration(0)
		for i, v := range judge(t, samples, 0) {
			if v.Evidence.IsZero() {
				t.Fatalf("%s without evidence", v.State)
			}
			if rested += rounds[i].passed; i > 0 && samples[i].Committed != samples[i-1].Committed {
				usual, rested = max(usual, rested), 0
			}
			late := max(verdicts.DefaultRules().Late, 2*usual)
			if (v.State == verdicts.OK || v.State == verdicts.Idle) && waits[i] > late {
				t.Fatalf("sample %d is %s, and a record has waited for %s", i, v, waits[i])
			}
		}
	})
}

// More that waits never makes a verdict better, at any time. How long records wait
// for a commit also tells how often the group commits, and so how long they may
// wait; so that this is the same in both lives, either something waits at any time,
// or more comes only after the last commit.
func TestMoreLagIsNeverBetter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rounds := life.Draw(t, "life")
		more := rapid.SliceOfN(rapid.SampledFrom([]int64{0, 0, 0, 1, 5, 100}), len(rounds), len(rounds)).Draw(t, "more")
		backlog := int64(rapid.SampledFrom([]int{0, 1}).Draw(t, "backlog"))
		for i := range rounds {
			rounds[i].stuck = rounds[i].stuck && backlog == 0
		}
		base, _ := live(rounds, backlog, nil)
		if backlog == 0 {
			for i := range base {
				if i > 0 && base[i].Committed != base[i-1].Committed {
					clear(more[:i+1])
				}
			}
		}
		grown, _ := live(rounds, backlog, more)
		was, is := judge(t, base, 1000), judge(t, grown, 1000)
		for i := range was {
			if was[i].State.Worse(is[i].State) {
				t.Fatalf("sample %d was\n%s\nand with more that waits it is\n%s", i, was[i], is[i])
			}
		}
	})
}

func TestAJudgementOnlyDependsOnTheTimeline(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		samples, _ := live(life.Draw(t, "life"), 0, nil)
		for range 2 {
			a, b := judge(t, samples, 0), judge(t, samples, 0)
			for i := range a {
				if !reflect.DeepEqual(a[i], b[i]) {
					t.Fatalf("%s, and again %s", a[i], b[i])
				}
			}
		}
	})
}
