package otelkafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// scriptedSession is a session that the test moves.
type scriptedSession struct {
	sarama.ConsumerGroupSession
	ctx        context.Context
	end        context.CancelCauseFunc
	generation int32
	claims     map[string][]int32
}

func newScriptedSession(t *testing.T, generation int32, claims map[string][]int32) *scriptedSession {
	ctx, end := context.WithCancelCause(t.Context())
	return &scriptedSession{ctx: ctx, end: end, generation: generation, claims: claims}
}

func (s *scriptedSession) Context() context.Context   { return s.ctx }
func (s *scriptedSession) GenerationID() int32        { return s.generation }
func (s *scriptedSession) Claims() map[string][]int32 { return s.claims }

// rebalanceTest is a member's instruments with a clock that stands still unless moved.
type rebalanceTest struct {
	*Rebalances
	t    *testing.T
	r    *telemetrytest.Recorder
	time time.Time
}

func newRebalanceTest(t *testing.T) *rebalanceTest {
	t.Helper()
	r, inst := newInstrumentation(t, Options{Consumes: []string{"in"}})
	rebalances, err := NewRebalances(inst)
	if err != nil {
		t.Fatal(err)
	}
	f := &rebalanceTest{Rebalances: rebalances, t: t, r: r, time: time.Unix(1e9, 0)}
	f.now = func() time.Time { return f.time }
	return f
}

func (f *rebalanceTest) begin(s *scriptedSession) {
	f.t.Helper()
	if err := f.Setup(s); err != nil {
		f.t.Fatal(err)
	}
}

// finish ends a session as sarama does: the cause first, Cleanup when the handlers have returned.
func (f *rebalanceTest) finish(s *scriptedSession, cause error) {
	f.t.Helper()
	s.end(cause)
	if err := f.Cleanup(s); err != nil {
		f.t.Fatal(err)
	}
}

// want compares the counts of the causes given; all others must be zero.
func (f *rebalanceTest) want(counts map[string]float64) {
	f.t.Helper()
	for _, cause := range causes() {
		if got := f.r.Metric(catalogue.KafkaConsumerRebalancesTotal, map[string]string{"cause": cause}); got != counts[cause] {
			f.t.Errorf("%v rebalances by %s, want %v", got, cause, counts[cause])
		}
	}
}

func (f *rebalanceTest) wantAssigned(topic string, n float64) {
	f.t.Helper()
	if got := f.r.Metric(catalogue.KafkaConsumerAssignedPartitions, map[string]string{"topic": topic}); got != n {
		f.t.Errorf("%v partitions of %s, want %v", got, topic, n)
	}
}

func TestRebalancesStartAtZero(t *testing.T) {
	f := newRebalanceTest(t)
	f.want(nil)
	f.wantAssigned("in", 0)
	f.r.CheckCatalogue()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if n := f.r.Series(catalogue.KafkaConsumerRebalancesTotal, nil) + f.r.Series(catalogue.KafkaConsumerAssignedPartitions, nil); n != 0 {
		t.Errorf("%d series are left after Close", n)
	}
}

func TestEagerRebalanceIsCountedAndTimed(t *testing.T) {
	f := newRebalanceTest(t)
	first := newScriptedSession(t, 1, map[string][]int32{"in": {0, 1, 2}})
	f.begin(first)
	f.want(map[string]float64{causeJoined: 1})
	f.wantAssigned("in", 3)
	f.finish(first, sarama.ErrRebalanceInProgress)
	f.want(map[string]float64{causeJoined: 1, causeGroupChanged: 1})
	f.wantAssigned("in", 0)
	f.time = f.time.Add(2500 * time.Millisecond)
	second := newScriptedSession(t, 2, map[string][]int32{"in": {0}})
	f.begin(second)
	f.want(map[string]float64{causeJoined: 1, causeGroupChanged: 1})
	f.wantAssigned("in", 1)
	if n, sum := f.r.Metric(catalogue.KafkaConsumerRebalanceDuration, nil),
		f.r.HistogramSum(catalogue.KafkaConsumerRebalanceDuration, nil); n != 1 || sum != 2.5 {
		t.Errorf("%v rebalances took %v s, want one of 2.5 s", n, sum)
	}
	f.finish(second, nil)
	f.want(map[string]float64{causeJoined: 1, causeGroupChanged: 1})
	f.begin(newScriptedSession(t, 3, nil))
	f.want(map[string]float64{causeJoined: 2, causeGroupChanged: 1})
	f.r.CheckCatalogue()
}

func TestCausesOfRebalances(t *testing.T) {
	wrapped := func(err error) error { return fmt.Errorf("heartbeat: %w", err) }
	for want, list := range map[string][]error{
		"":                     {nil, context.Canceled, context.DeadlineExceeded, errors.New("stopped by a signal")},
		causeGroupChanged:      {sarama.ErrRebalanceInProgress},
		causePartitionsChanged: {sarama.ErrSessionPartitionCountChanged},
		causeSessionLost:       {sarama.ErrUnknownMemberId, sarama.ErrIllegalGeneration, wrapped(sarama.ErrFencedInstancedId)},
		causeCoordinatorLost: {
			sarama.ErrSessionHeartbeatFailed, sarama.ErrNotCoordinatorForConsumer, wrapped(io.EOF),
			&net.OpError{Op: "dial", Err: errors.New("refused")}, wrapped(sarama.ErrOutOfBrokers),
		},
		causeRevocationTimeout: {sarama.ErrRebalanceTimedOut},
		causeClaimExited:       {sarama.ErrSessionConsumeClaimExited},
		catalogue.LabelOther:   {sarama.ErrGroupAuthorizationFailed},
	} {
		for _, err := range list {
			if got := causeOf(err); got != want {
				t.Errorf("cause of %v is %q, want %q", err, got, want)
			}
		}
	}
}

func TestCooperativeGenerationsAreCountedWithoutTheStrategy(t *testing.T) {
	f := newRebalanceTest(t)
	s := newScriptedSession(t, 4, map[string][]int32{"in": {0, 1}})
	f.begin(s)
	s.generation, s.claims = 6, map[string][]int32{"in": {1}}
	f.wantAssigned("in", 1)
	f.want(map[string]float64{causeJoined: 1, causeGroupChanged: 2})
	s.generation = 1 // the coordinator began again
	f.finish(s, sarama.ErrUnknownMemberId)
	f.want(map[string]float64{causeJoined: 1, causeGroupChanged: 3, causeSessionLost: 1})
}

// joinedStrategy is a strategy as sarama's cooperative one is.
type joinedStrategy struct {
	sarama.RebalanceProtocolBalanceStrategy
	calls, assigned int
}

func (s *joinedStrategy) SubscriptionUserData([]string) ([]byte, error) {
	s.calls++
	return []byte("mine"), nil
}
func (s *joinedStrategy) OnAssignment(*sarama.ConsumerGroupMemberAssignment, int32) {
	s.assigned++
}
func (s *joinedStrategy) Plan(map[string]sarama.ConsumerGroupMemberMetadata, map[string][]int32) (sarama.BalanceStrategyPlan, error) {
	return nil, nil
}

func TestStrategyCountsCooperativeRebalances(t *testing.T) {
	f := newRebalanceTest(t)
	inner := &joinedStrategy{}
	strategy := f.Strategy(inner).(watchedStrategy)
	join := func(took time.Duration, generation int32) {
		t.Helper()
		if data, err := strategy.SubscriptionUserData([]string{"in"}); err != nil || string(data) != "mine" {
			t.Errorf("user data %q, %v", data, err)
		}
		f.time = f.time.Add(took)
		_, _ = strategy.SubscriptionUserData([]string{"in"}) // asked to try again
		strategy.OnAssignment(nil, generation)
	}
	lead := func(partitions ...int32) {
		t.Helper()
		if _, err := strategy.Plan(nil, map[string][]int32{"in": partitions}); err != nil {
			t.Fatal(err)
		}
	}
	lead(0, 1)
	join(time.Second, 1) // a session's beginning is not a rebalance within it
	s := newScriptedSession(t, 1, map[string][]int32{"in": {0, 1}})
	f.begin(s)
	f.want(map[string]float64{causeJoined: 1})
	s.generation = 2
	lead(0, 1)
	join(2*time.Second, 2)
	lead(0, 1, 2)
	join(3*time.Second, 3)
	f.want(map[string]float64{causeJoined: 1, causeGroupChanged: 1, causePartitionsChanged: 1})
	if n, sum := f.r.Metric(catalogue.KafkaConsumerRebalanceDuration, nil),
		f.r.HistogramSum(catalogue.KafkaConsumerRebalanceDuration, nil); n != 2 || sum != 5 {
		t.Errorf("%v rebalances took %v s, want two of 5 s", n, sum)
	}
	_, _ = strategy.SubscriptionUserData(nil)
	f.finish(s, nil) // it failed to join again
	f.want(map[string]float64{causeJoined: 1, causeGroupChanged: 1, causePartitionsChanged: 1, causeSessionLost: 1})
	if inner.calls != 7 || inner.assigned != 3 {
		t.Errorf("the strategy was called %d times and got %d assignments, want 7 and 3", inner.calls, inner.assigned)
	}
}

func TestStrategyLeavesEagerOnesAlone(t *testing.T) {
	f := newRebalanceTest(t)
	eager := sarama.NewBalanceStrategyRange()
	if f.Strategy(eager) != eager {
		t.Error("an eager strategy is wrapped")
	}
	config := sarama.NewConfig()
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{
		f.Strategy(sarama.NewBalanceStrategyCooperativeSticky()), eager,
	}
	if err := config.Validate(); err != nil {
		t.Errorf("sarama no longer sees what the strategy supports: %v", err)
	}
}

func TestAssignedPartitionsOfTwoMembersAddUp(t *testing.T) {
	f := newRebalanceTest(t)
	other, err := NewRebalances(f.inst)
	if err != nil {
		t.Fatal(err)
	}
	f.begin(newScriptedSession(t, 1, map[string][]int32{"in": {0, 1}}))
	if err := other.Setup(newScriptedSession(t, 1, map[string][]int32{"in": {2}, "elsewhere": {0}})); err != nil {
		t.Fatal(err)
	}
	f.wantAssigned("in", 3)
	f.wantAssigned("elsewhere", 1)
	f.want(map[string]float64{causeJoined: 2})
	f.r.CheckCatalogue()
}
