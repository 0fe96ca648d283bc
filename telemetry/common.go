package telemetry

import "slices"

// Names of the metrics that every service has. They are contracts; see [Common].
const (
	KafkaMessagesProducedTotal     = "kafka_messages_produced_total"
	KafkaMessagesConsumedTotal     = "kafka_messages_consumed_total"
	KafkaMessageProcessingDuration = "kafka_message_processing_duration_seconds"
	KafkaConsumerLag               = "kafka_consumer_lag"
	KafkaConsumerLagSeconds        = "kafka_consumer_lag_seconds"
	HTTPRequestsTotal              = "http_requests_total"
	HTTPRequestDurationSeconds     = "http_request_duration_seconds"
	ProcessUptimeSeconds           = "process_uptime_seconds"
	ProcessMemoryUsageBytes        = "process_memory_usage_bytes"
)

// DurationBuckets returns the upper bounds, in seconds, of every duration histogram of [Common]. Each call gives
// a new slice.
func DurationBuckets() []float64 {
	return []float64{.001, .005, .01, .05, .1, .5, 1, 2, 5}
}

// Common returns the metrics that every service has: kafka_*, http_*, process_* and lost telemetry.
func Common() Catalogue {
	return slices.Concat(kafkaMetrics(), failureMetrics(), rebalanceMetrics(), httpMetricsCatalogue(), processMetrics(),
		exportMetrics())
}

// Optional returns the metrics that a service has where it asks for them: [Conventions] and [SaramaMetrics]. Every
// service declares them; without the option they have no series.
func Optional() Catalogue { return slices.Concat(Conventions(), SaramaMetrics()) }

// Numeric bounds of label sets. What enforces them leaves room for the series that the rest folds into.
const (
	maxTopicSeries     = 200 + 1   // 200 topics and _OTHER
	maxPartitionSeries = 1500      // partitions followed by one instance
	maxHTTPSeries      = 1000 + 10 // combinations, and one for each method
)

func kafkaMetrics() Catalogue {
	const topics = "topics the service is configured with; those beyond the first 200 share _OTHER"
	const partitions = "partitions assigned to this instance, 1,500 at most; a revoked partition's series goes away"
	return Catalogue{
		{
			Name: KafkaMessagesProducedTotal, Kind: Counter, Labels: []string{"topic"},
			Bound: topics, MaxSeries: maxTopicSeries, Documented: true,
			Help: "Records that Kafka acknowledged.",
		},
		{
			Name: KafkaMessagesConsumedTotal, Kind: Counter, Labels: []string{"topic"},
			Bound: topics, MaxSeries: maxTopicSeries, Documented: true,
			Help: "Records read from Kafka and processed, whatever came of them.",
		},
		{
			Name: KafkaMessageProcessingDuration, Kind: Histogram, Unit: "s", Labels: []string{"topic"},
			Buckets: DurationBuckets(), Bound: topics, MaxSeries: maxTopicSeries, Documented: true,
			Help: "Time that the handler took for one record.",
		},
		{
			Name: KafkaConsumerLag, Kind: Gauge, Labels: []string{"topic", "partition"},
			Bound: partitions, MaxSeries: maxPartitionSeries, Documented: true,
			Help: "Records left to process: the log's end less the next offset to process, never negative.",
		},
		{
			Name: KafkaConsumerLagSeconds, Kind: Gauge, Unit: "s", Labels: []string{"topic", "partition"},
			Bound: partitions, MaxSeries: maxPartitionSeries,
			Help: "Age of the oldest record left to process, 0 when there is none.",
		},
	}
}

func httpMetricsCatalogue() Catalogue {
	const bound = "registered patterns, nine methods and the codes 100 to 599; all else is _OTHER or unmatched, " +
		"as are combinations beyond the first 1,000"
	labels := []string{"method", "route", "status_code"}
	return Catalogue{
		{
			Name: HTTPRequestsTotal, Kind: Counter, Labels: labels,
			Bound: bound, MaxSeries: maxHTTPSeries, Documented: true,
			Help: "HTTP requests answered, /health and /metrics included.",
		},
		{
			Name: HTTPRequestDurationSeconds, Kind: Histogram, Unit: "s", Labels: labels, Buckets: DurationBuckets(),
			Bound: bound, MaxSeries: maxHTTPSeries, Documented: true,
			Help: "Time from a request's arrival at the handler to the handler's return.",
		},
	}
}

func processMetrics() Catalogue {
	return Catalogue{
		{
			Name: ProcessUptimeSeconds, Kind: Gauge, Unit: "s", Documented: true,
			Help: "Time since the process started. Services of one process report the same figure.",
		},
		{
			Name: ProcessMemoryUsageBytes, Kind: Gauge, Unit: "By", Labels: []string{"type"},
			Bound: "rss, heapTotal, heapUsed, external", MaxSeries: 4, Documented: true,
			Help: "Memory of the process: rss resident set, heapTotal heap held from the system, heapUsed heap in objects, " +
				"external what the Go runtime holds outside the heap. Services of one process report the same figures: " +
				"take their maximum, never their sum.",
		},
	}
}
