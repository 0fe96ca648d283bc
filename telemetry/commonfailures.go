package telemetry

// Names of the metrics about records that could not simply be processed.
const (
	KafkaMessagesFailedTotal = "kafka_messages_failed_total"
	KafkaDeadLettersTotal    = "kafka_dead_letters_total"
	KafkaDuplicatesTotal     = "kafka_duplicates_total"
)

// failureMetrics are counted after the record's outcome is stored.
func failureMetrics() Catalogue {
	const bound = "topics the service is configured with; reasons are a closed set that it names; " +
		"combinations beyond the first 1,000 share _OTHER"
	const most = 1000 + 1
	return Catalogue{
		{
			Name: KafkaMessagesFailedTotal, Kind: Counter, Labels: []string{"topic", "reason"}, Bound: bound, MaxSeries: most,
			Help: "Records that failed for good, by the topic they were read from.",
		},
		{
			Name: KafkaDeadLettersTotal, Kind: Counter, Labels: []string{"topic", "reason"}, Bound: bound, MaxSeries: most,
			Help: "Records set aside among the dead letters, by the topic they were read from.",
		},
		{
			Name: KafkaDuplicatesTotal, Kind: Counter, Labels: []string{"topic"}, MaxSeries: maxTopicSeries,
			Bound: "topics the service is configured with; those beyond the first 200 share _OTHER",
			Help:  "Records that had been processed before and changed nothing.",
		},
	}
}
