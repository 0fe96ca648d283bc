package otelkafka

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry"
)

func (r *Rebalances) observeCounts(_ context.Context, o telemetry.Observation) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.catchUp()
	for _, cause := range causes() {
		set := metric.WithAttributeSet(attribute.NewSet(attribute.String("cause", cause)))
		o.Counter(telemetry.KafkaConsumerRebalancesTotal, r.counts[cause], set)
	}
	return nil
}

// observeAssigned reads the claims where they are kept: a cooperative session changes them as it goes on.
func (r *Rebalances) observeAssigned(_ context.Context, o metric.Int64Observer) error {
	r.mu.Lock()
	session := r.session
	r.mu.Unlock()
	assigned := make(map[string]int64)
	for _, topic := range r.inst.options.Consumes {
		assigned[r.inst.topics.get(topic).label] = 0
	}
	if session != nil {
		for topic, partitions := range session.Claims() {
			assigned[r.inst.topics.get(topic).label] += int64(len(partitions))
		}
	}
	for topic, n := range assigned {
		o.Observe(n, metric.WithAttributeSet(attribute.NewSet(attribute.String("topic", topic))))
	}
	return nil
}
