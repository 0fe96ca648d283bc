package otelkafka

import (
	"context"
	"time"

	"github.com/IBM/sarama"
)

// Strategy returns the strategy with each join and each assignment seen. Give it to sarama in place of a cooperative
// one, in Config.Consumer.Group.Rebalance.GroupStrategies; what it decides does not change. A strategy that does not
// take part in sarama's joins and assignments, as the eager ones do not, is returned as it is: there is nothing to see.
func (r *Rebalances) Strategy(strategy sarama.BalanceStrategy) sarama.BalanceStrategy {
	if s, ok := strategy.(tellingStrategy); ok {
		return watchedStrategy{s, r}
	}
	return strategy
}

// tellingStrategy is what sarama's cooperative strategy is: sarama calls it just before each request to join and
// just after each assignment.
type tellingStrategy interface {
	sarama.RebalanceProtocolBalanceStrategy
	sarama.SubscriptionUserDataBalanceStrategy
	sarama.OnAssignmentBalanceStrategy
}

type watchedStrategy struct {
	tellingStrategy
	rebalances *Rebalances
}

// SubscriptionUserData implements [sarama.SubscriptionUserDataBalanceStrategy].
func (s watchedStrategy) SubscriptionUserData(topics []string) ([]byte, error) {
	s.rebalances.asked()
	return s.tellingStrategy.SubscriptionUserData(topics)
}

// Plan implements [sarama.BalanceStrategy]; sarama calls it where this member leads the group.
func (s watchedStrategy) Plan(
	members map[string]sarama.ConsumerGroupMemberMetadata, topics map[string][]int32,
) (sarama.BalanceStrategyPlan, error) {
	s.rebalances.planned(topics)
	return s.tellingStrategy.Plan(members, topics)
}

// OnAssignment implements [sarama.OnAssignmentBalanceStrategy].
func (s watchedStrategy) OnAssignment(assignment *sarama.ConsumerGroupMemberAssignment, generation int32) {
	s.tellingStrategy.OnAssignment(assignment, generation)
	s.rebalances.answered(generation)
}

// asked notes that a member which has a session asks to join again. Further tries belong to the same rebalance.
func (r *Rebalances) asked() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session != nil && r.joining.IsZero() {
		r.joining = r.now()
	}
}

// planned compares the topics' sizes with those of the last plan.
func (r *Rebalances) planned(topics map[string][]int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sizes := make(map[string]int, len(topics))
	for topic, partitions := range topics {
		sizes[topic] = len(partitions)
		if before, known := r.sizes[topic]; known && before != len(partitions) {
			r.grown = true
		}
	}
	r.sizes = sizes
}

// answered counts and times a rebalance within a session. That of a session's beginning is Setup's to count.
func (r *Rebalances) answered(generation int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hooked = true
	if r.session == nil {
		return
	}
	cause := causeGroupChanged
	if r.grown {
		cause = causePartitionsChanged
	}
	r.counts[cause]++
	if !r.joining.IsZero() {
		r.duration.Record(context.Background(), r.now().Sub(r.joining).Seconds())
	}
	r.session.generation, r.joining, r.grown = generation, time.Time{}, false
}
