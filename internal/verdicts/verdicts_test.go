package verdicts_test

import (
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/i18n"
	"github.com/vigie-dev/vigie/internal/verdicts"
)

func TestAGroupFaresAsItsWorstPartition(t *testing.T) {
	on := func(partition int32, state verdicts.State, evidence string, lag verdicts.Number) verdicts.Verdict {
		return verdicts.Verdict{
			Place: verdicts.Place{Group: "billing", Topic: "order.created", Partition: partition}, State: state, Evidence: i18n.Verbatim(evidence), Lag: lag,
		}
	}
	well := on(0, verdicts.OK, "nothing waits: read to 5 of 5", verdicts.Known[int64](0))
	well.CatchUp = verdicts.Known(time.Duration(0))
	stalled := on(1, verdicts.Stalled, "no progress for 94 s with 2 members", verdicts.Known[int64](212))
	stalled.CatchUp, stalled.LagAge, stalled.ToLoss = verdicts.None[time.Duration](), verdicts.Known(99*time.Second), verdicts.Known(time.Hour)
	unseen := on(2, verdicts.Unknown, "the broker did not answer", verdicts.Number{})

	whole := verdicts.JudgeGroup("billing", []verdicts.Verdict{well, stalled, unseen})
	if whole.State != verdicts.Stalled || whole.Lag != stalled.Lag || whole.LagAge != stalled.LagAge || !whole.CatchUp.IsNone() || whole.ToLoss != stalled.ToLoss {
		t.Errorf("it is %+v", whole)
	}
	want := "order.created/1: no progress for 94 s with 2 members (of 3 partitions 1 stalled, 1 unknown, 1 ok)"
	if whole.Evidence.String() != want {
		t.Errorf("its evidence is %q, want %q", whole.Evidence, want)
	}
	// What is not known is never well.
	if whole := verdicts.JudgeGroup("billing", []verdicts.Verdict{well, unseen}); whole.State != verdicts.Unknown {
		t.Errorf("with a partition that nobody knows it is %s", whole)
	}
	if whole := verdicts.JudgeGroup("billing", nil); whole.State != verdicts.Unknown || whole.Evidence.IsZero() {
		t.Errorf("without partitions it is %s", whole)
	}
}

func TestOldSamplesAreNoVerdict(t *testing.T) {
	line := verdicts.NewTimeline(place, 0)
	rules := verdicts.DefaultRules()
	if v := rules.Judge(line, start); v.State != verdicts.Unknown || v.Evidence.IsZero() {
		t.Errorf("without samples it is %s", v)
	}
	for i := range 3 {
		s := verdicts.Sample{
			At: start.Add(time.Duration(i) * time.Second), End: verdicts.Known[int64](5), Stable: verdicts.Known[int64](5), Committed: verdicts.Known[int64](5),
		}
		if err := line.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	last := start.Add(2 * time.Second)
	if v := rules.Judge(line, last.Add(rules.Stale)); v.State != verdicts.OK {
		t.Errorf("it is %s", v)
	}
	if v := rules.Judge(line, last.Add(rules.Stale+time.Second)); v.State != verdicts.Unknown || v.Evidence.String() != "nothing has been seen for 61 s" {
		t.Errorf("a minute later it is %s", v)
	}
}

func TestRulesOfNoUseAreRefused(t *testing.T) {
	if err := verdicts.DefaultRules().Validate(); err != nil {
		t.Error(err)
	}
	if err := (verdicts.Rules{}).Validate(); err == nil {
		t.Error("no bounds at all were taken")
	}
}

// BenchmarkJudge judges a full timeline of a group that is behind, the most work.
func BenchmarkJudge(b *testing.B) {
	line := verdicts.NewTimeline(place, 0)
	for i := range int64(200) {
		s := verdicts.Sample{
			At: start.Add(time.Duration(i) * 10 * time.Second), Oldest: verdicts.Known[int64](0), End: verdicts.Known(10_000 + 20*i), Stable: verdicts.Known(10_000 + 20*i),
			Committed: verdicts.Known(15 * i), FirstUnread: verdicts.Known(time.Hour), Group: &verdicts.Group{State: "Stable", Members: verdicts.Known[int64](2)},
		}
		if err := line.Add(s); err != nil {
			b.Fatal(err)
		}
	}
	now := start.Add(2000 * time.Second)
	b.ReportAllocs()
	for b.Loop() {
		verdicts.DefaultRules().Judge(line, now)
	}
}
