package telemetry

// Names of the metrics about a consumer group's rebalances and what they assign to this instance.
const (
	KafkaConsumerRebalancesTotal    = "kafka_consumer_rebalances_total"
	KafkaConsumerRebalanceDuration  = "kafka_consumer_rebalance_duration_seconds"
	KafkaConsumerAssignedPartitions = "kafka_consumer_assigned_partitions"
)

// rebalanceCauses is the number of values of the label cause.
const rebalanceCauses = 8

// rebalanceMetrics are fed by the package otelkafka's Rebalances.
func rebalanceMetrics() Catalogue {
	return Catalogue{
		{
			Name: KafkaConsumerRebalancesTotal, Kind: Counter, Labels: []string{"cause"}, MaxSeries: rebalanceCauses,
			Bound: "joined, group_changed, partitions_changed, session_lost, coordinator_lost, revocation_timeout, " +
				"claim_exited, _OTHER",
			Help: "Times that this instance got, lost or renewed its assignment, by cause; joined is its own start.",
		},
		{
			Name: KafkaConsumerRebalanceDuration, Kind: Histogram, Unit: "s", MaxSeries: 1,
			Buckets: []float64{.01, .05, .1, .5, 1, 2.5, 5, 10, 30, 60, 120, 300},
			Help: "Time that a rebalance took this instance: with an eager strategy from the end of the old assignment " +
				"to the new one, with a cooperative one, which leaves kept partitions working, from asking to join to the answer.",
		},
		{
			Name: KafkaConsumerAssignedPartitions, Kind: Gauge, Labels: []string{"topic"}, MaxSeries: maxTopicSeries,
			Bound: "topics the service is configured with; those beyond the first 200 share _OTHER",
			Help:  "Partitions assigned to this instance, 0 while it has none.",
		},
	}
}
