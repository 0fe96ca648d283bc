package catalogue

import (
	"slices"
)

// Names of the metrics that every service has. They are contracts; see [Common].
const (
	KafkaMessagesProducedTotal     = "kafka_messages_produced_total"
	KafkaMessagesConsumedTotal     = "kafka_messages_consumed_total"
	KafkaMessageProcessingDuration = "kafka_message_processing_duration_seconds"
	KafkaConsumerLag               = "kafka_consumer_lag"
	KafkaConsumerLagSeconds        = "kafka_consumer_lag_seconds"
	KafkaConsumerLagOmitted        = "kafka_consumer_lag_omitted_partitions"
	HTTPRequestsTotal              = "http_requests_total"
	HTTPRequestDurationSeconds     = "http_request_duration_seconds"
	ProcessUptimeSeconds           = "process_uptime_seconds"
	ProcessMemoryUsageBytes        = "process_memory_usage_bytes"
)

// DurationBuckets returns the upper bounds, in seconds, of the durations of requests. Each call gives a new slice.
func DurationBuckets() []float64 {
	return []float64{.001, .005, .01, .05, .1, .5, 1, 2, 5, 10, 30, 60}
}

// HandlerBuckets returns the upper bounds, in seconds, of the durations of records' handlers, many of which take less than a
// request does. Each call gives a new slice.
func HandlerBuckets() []float64 {
	return append([]float64{.0001, .00025, .0005}, DurationBuckets()...)
}

// Common returns the metrics that every service has: kafka_*, http_*, process_* and lost telemetry.
func Common() Catalogue {
	return slices.Concat(kafkaMetrics(), handlingMetrics(), failureMetrics(), rebalanceMetrics(), httpMetricsCatalogue(), processMetrics(),
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
	const partitions = "partitions assigned to this instance, the first 1,500; a revoked partition's series goes away; " +
		"group where otelkafka.NewConsumerGroup made the member"
	lagLabels, grouped := []string{"topic", "partition", "group"}, []string{"group"}
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
			Buckets: HandlerBuckets(), Bound: topics, MaxSeries: maxTopicSeries, Documented: true,
			Help: "Time that the handler took for one record.",
		},
		{
			Name: KafkaConsumerLag, Kind: Gauge, Labels: lagLabels, Conditional: grouped,
			Bound: partitions, MaxSeries: maxPartitionSeries, Documented: true,
			Help: "Records left to process: the log's end less the next offset to process, never negative.",
		},
		{
			Name: KafkaConsumerLagSeconds, Kind: Gauge, Unit: "s", Labels: lagLabels, Conditional: grouped,
			Bound: partitions, MaxSeries: maxPartitionSeries,
			Help: "Age of the oldest record left to process, 0 when there is none.",
		},
		{
			Name: KafkaConsumerLagOmitted, Kind: Gauge, Sum: true,
			Help: "Partitions assigned to this instance whose lag is not shown, for want of room.",
		},
	}
}

// Names of the metrics about what becomes of records, and how long it takes.
const (
	KafkaSendFailuresTotal       = "kafka_send_failures_total"
	KafkaProcessFailuresTotal    = "kafka_process_failures_total"
	KafkaMessageEndToEndDuration = "kafka_message_end_to_end_duration_seconds"
	KafkaConsumerCommitDuration  = "kafka_consumer_commit_duration_seconds"
	KafkaConsumerRecordsInHand   = "kafka_consumer_records_in_hand"
	KafkaConsumerOldestInHand    = "kafka_consumer_oldest_in_hand_seconds"
	KafkaProducerRecordsInFlight = "kafka_producer_records_in_flight"
)

// handlingMetrics are fed by the package otelkafka.
func handlingMetrics() Catalogue {
	const topics = "topics the service is configured with; those beyond the first 200 share _OTHER"
	const grouped = topics + "; group where the service names one, 20 at most"
	both, group := []string{"topic", "group"}, []string{"group"}
	return Catalogue{
		{
			Name: KafkaSendFailuresTotal, Kind: Counter, Labels: []string{"topic"}, Bound: topics, MaxSeries: maxTopicSeries,
			Help: "Records that a producer gave up, or refused.",
		},
		{
			Name: KafkaProcessFailuresTotal, Kind: Counter, Labels: []string{"topic"}, Bound: topics, MaxSeries: maxTopicSeries,
			Help: "Records whose handler failed, each time that it did.",
		},
		{
			Name: KafkaMessageEndToEndDuration, Kind: Histogram, Unit: "s", Labels: both, Conditional: group, Bound: grouped,
			Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 10, 30, 60, 300, 900, 3600, 21600}, MaxSeries: 1000 + 1,
			Help: "Time from a record's timestamp to the end of its handler.",
		},
		{
			Name: KafkaConsumerCommitDuration, Kind: Histogram, Unit: "s", Labels: group, Conditional: group,
			Bound: groupsBound, MaxSeries: maxGroups + 1, Buckets: DurationBuckets(),
			Help: "Time that a commit which the handler asked for took; those that sarama makes by itself are not seen.",
		},
		{
			Name: KafkaConsumerRecordsInHand, Kind: Gauge, Sum: true, Labels: both, Conditional: group, Bound: grouped, MaxSeries: 1000,
			Help: "Records that handlers have begun and not ended.",
		},
		{
			Name: KafkaConsumerOldestInHand, Kind: Gauge, Unit: "s", Labels: both, Conditional: group, Bound: grouped, MaxSeries: 1000,
			Help: "Time since a handler began the oldest record in hand, 0 when there is none: it grows while a handler is stuck.",
		},
		{
			Name: KafkaProducerRecordsInFlight, Kind: Gauge, Sum: true, Labels: []string{"topic"}, Bound: topics, MaxSeries: maxTopicSeries,
			Help: "Records given to a producer that Kafka has not answered yet.",
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
			Help: "Memory of the process: rss resident set, heapTotal heap got from the system, heapUsed heap in objects, " +
				"external what the Go runtime holds outside the heap. Services of one process report the same figures: " +
				"take their maximum, never their sum.",
		},
	}
}

// Names of the metrics about telemetry that was lost on its way out of the process.
const (
	SpansDroppedTotal      = "otel_spans_dropped_total"
	LogRecordsDroppedTotal = "otel_log_records_dropped_total"
)

// exportMetrics are 0 where nothing is exported.
func exportMetrics() Catalogue {
	const bound = "queue_full, export_failed, rejected"
	return Catalogue{
		{
			Name: SpansDroppedTotal, Kind: Counter, Labels: []string{"reason"}, Bound: bound, MaxSeries: 3,
			Help: "Sampled spans that did not reach the collector.",
		},
		{
			Name: LogRecordsDroppedTotal, Kind: Counter, Labels: []string{"reason"}, Bound: bound, MaxSeries: 3,
			Help: "Log records that did not reach the collector; they are in the service's own log.",
		},
	}
}

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

// Names of the metrics about a consumer group's rebalances and what they assign to this instance.
const (
	KafkaConsumerRebalancesTotal    = "kafka_consumer_rebalances_total"
	KafkaConsumerRebalanceDuration  = "kafka_consumer_rebalance_duration_seconds"
	KafkaConsumerAssignedPartitions = "kafka_consumer_assigned_partitions"
)

// Bounds of the labels cause and group.
const (
	rebalanceCauses = 8
	maxGroups       = 20
	groupsBound     = "group where the service names one; those beyond the first 20 share _OTHER"
)

// rebalanceMetrics are fed by the package otelkafka's Rebalances.
func rebalanceMetrics() Catalogue {
	return Catalogue{
		{
			Name: KafkaConsumerRebalancesTotal, Kind: Counter, Labels: []string{"cause", "group"}, Conditional: []string{"group"},
			MaxSeries: rebalanceCauses * (maxGroups + 1),
			Bound: "joined, group_changed, partitions_changed, session_lost, coordinator_lost, revocation_timeout, " +
				"claim_exited, _OTHER; " + groupsBound,
			Help: "Times that this instance got, lost or renewed its assignment, by cause; joined is its own start.",
		},
		{
			Name: KafkaConsumerRebalanceDuration, Kind: Histogram, Unit: "s", Labels: []string{"group"}, Conditional: []string{"group"},
			Bound: groupsBound, MaxSeries: maxGroups + 1,
			Buckets: []float64{.01, .05, .1, .5, 1, 2.5, 5, 10, 30, 60, 120, 300},
			Help: "Time that a rebalance took this instance: with an eager strategy from the end of the old assignment " +
				"to the new one, with a cooperative one, which leaves kept partitions working, from asking to join to the answer.",
		},
		{
			Name: KafkaConsumerAssignedPartitions, Kind: Gauge, Sum: true, Labels: []string{"topic"}, MaxSeries: maxTopicSeries,
			Bound: "topics the service is configured with; those beyond the first 200 share _OTHER",
			Help:  "Partitions assigned to this instance, 0 while it has none.",
		},
	}
}

// Names, as on the page, of the metrics of OpenTelemetry's semantic conventions; see [Conventions].
const (
	MessagingClientOperationDuration = "messaging_client_operation_duration_seconds"
	MessagingClientSentMessages      = "messaging_client_sent_messages_total"
	MessagingClientConsumedMessages  = "messaging_client_consumed_messages_total"
	MessagingProcessDuration         = "messaging_process_duration_seconds"
	HTTPServerRequestDuration        = "http_server_request_duration_seconds"
)

// ConventionBuckets returns the upper bounds, in seconds, that the semantic conventions advise for the durations of
// [Conventions]. Each call gives a new slice.
func ConventionBuckets() []float64 {
	return []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}
}

// Conventions returns the metrics of OpenTelemetry's semantic conventions, version 1.43.0, that can be recorded
// beside the documented ones: by the option Conventions of the package otelkafka, and by [WithConventions].
// Attributes are those that the conventions require, as far as a caller of sarama or of net/http can know them.
//
// They leave out messaging.destination.partition.id, which is recommended, for it would multiply the series by
// the partitions; and server.address and server.port, for sarama does not say which broker answered.
//
// See https://opentelemetry.io/docs/specs/semconv/messaging/messaging-metrics/ and
// https://opentelemetry.io/docs/specs/semconv/http/http-metrics/.
func Conventions() Catalogue {
	const bound = "topics the service is configured with, its groups, and 20 kinds of error; all else, as " +
		"combinations beyond the first 1,000, is _OTHER"
	const most = 1000 + 2
	send := []string{"messaging_operation_name", "messaging_system", "messaging_destination_name", "error_type"}
	process := append([]string{"messaging_consumer_group_name"}, send...)
	failed, grouped := []string{"error_type"}, []string{"error_type", "messaging_consumer_group_name"}
	return Catalogue{
		{
			Name: MessagingClientOperationDuration, Instrument: "messaging.client.operation.duration", Kind: Histogram,
			Unit: "s", Labels: append([]string{"messaging_operation_type"}, send...), Conditional: failed,
			Buckets: ConventionBuckets(), Bound: bound, MaxSeries: most,
			Help: "Duration of messaging operation initiated by a producer or consumer client.",
		},
		{
			Name: MessagingClientSentMessages, Instrument: "messaging.client.sent.messages", Kind: Counter,
			Unit: "{message}", Labels: send, Conditional: failed, Bound: bound, MaxSeries: most,
			Help: "Number of messages producer attempted to send to the broker.",
		},
		{
			Name: MessagingClientConsumedMessages, Instrument: "messaging.client.consumed.messages", Kind: Counter,
			Unit: "{message}", Labels: process, Conditional: grouped, Bound: bound, MaxSeries: most,
			Help: "Number of messages that were delivered to the application.",
		},
		{
			Name: MessagingProcessDuration, Instrument: "messaging.process.duration", Kind: Histogram,
			Unit: "s", Labels: process, Conditional: grouped, Buckets: ConventionBuckets(), Bound: bound, MaxSeries: most,
			Help: "Duration of processing operation.",
		},
		httpConvention(),
	}
}

func httpConvention() Metric {
	return Metric{
		Name: HTTPServerRequestDuration, Instrument: "http.server.request.duration", Kind: Histogram, Unit: "s",
		Labels: []string{
			"http_request_method", "url_scheme", "http_response_status_code", "http_route", "network_protocol_version", "error_type",
		},
		Conditional: []string{"http_response_status_code", "http_route", "network_protocol_version", "error_type"},
		Buckets:     ConventionBuckets(), MaxSeries: 1000 + 10*2,
		Bound: "registered patterns, nine methods, two schemes, four versions and the codes 100 to 599; all else is _OTHER " +
			"or left out, as are combinations beyond the first 1,000",
		Help: "Duration of HTTP server requests.",
	}
}

// Names of the metrics that are read from sarama's own registry; see [SaramaMetrics].
const (
	KafkaClientRequestsTotal           = "kafka_client_requests_total"
	KafkaClientRequestLatencySeconds   = "kafka_client_request_latency_seconds"
	KafkaClientRequestsInFlight        = "kafka_client_requests_in_flight"
	KafkaClientFetchesTotal            = "kafka_client_fetches_total"
	KafkaClientThrottledResponsesTotal = "kafka_client_throttled_responses_total"
	KafkaClientSentBytesTotal          = "kafka_client_sent_bytes_total"
	KafkaClientReceivedBytesTotal      = "kafka_client_received_bytes_total"
	KafkaClientRecordsSentTotal        = "kafka_client_records_sent_total"
	KafkaClientBatchesSentTotal        = "kafka_client_batches_sent_total"
	KafkaClientBatchSizeBytes          = "kafka_client_batch_size_bytes"
	KafkaClientRecordsPerRequest       = "kafka_client_records_per_request"
	KafkaClientCompressionRatio        = "kafka_client_compression_ratio"
	KafkaClientGroupJoinsTotal         = "kafka_client_group_joins_total"
	KafkaClientGroupJoinFailuresTotal  = "kafka_client_group_join_failures_total"
)

// Bounds of [SaramaMetrics]: clients that a service observes, and brokers over all of them.
const (
	MaxSaramaClients = 8
	maxSaramaBrokers = 500 + MaxSaramaClients
	percentiles      = 3
)

// SaramaMetrics returns what the package otelkafka's ObserveSarama reads from the registry of a sarama client:
// counters from sarama's counts, whose rates Prometheus is left to take, and percentiles.
//
// Those percentiles are sarama's: of a sample of up to 1,028 of its latest measurements, weighted towards the last
// five minutes of traffic. They describe the recent past of one client and stand still while it does nothing; they
// cannot be averaged or summed over clients, brokers or instances. Take the maximum.
func SaramaMetrics() Catalogue {
	return append(brokerMetrics(), clientMetrics()...)
}

func brokerMetrics() Catalogue {
	counter := func(name, unit, help string) Metric {
		return Metric{
			Name: name, Kind: Counter, Unit: unit, Labels: []string{"client", "broker"}, MaxSeries: maxSaramaBrokers,
			Bound: "8 clients; brokers of the cluster, those beyond the first 500 share _OTHER", Help: help,
		}
	}
	latency := counter(KafkaClientRequestLatencySeconds, "s",
		"Recent percentiles of the time from a request to its answer, in whole milliseconds; _OTHER is the slowest broker's.")
	latency.Kind, latency.Labels, latency.MaxSeries = Gauge, append(latency.Labels, "percentile"), percentiles*maxSaramaBrokers
	latency.Bound += "; percentiles 50, 95, 99"
	inFlight := counter(KafkaClientRequestsInFlight, "", "Requests that await the broker's answer.")
	inFlight.Kind = Gauge
	return Catalogue{
		counter(KafkaClientRequestsTotal, "", "Requests sent to the broker."),
		latency,
		inFlight,
		counter(KafkaClientFetchesTotal, "", "Fetch requests sent to the broker."),
		counter(KafkaClientThrottledResponsesTotal, "", "Answers with which the broker made the client wait for its quota."),
		counter(KafkaClientSentBytesTotal, "By", "Bytes sent to the broker."),
		counter(KafkaClientReceivedBytesTotal, "By", "Bytes received from the broker."),
	}
}

func clientMetrics() Catalogue {
	const bound = "8 clients"
	counter := func(name, help string) Metric {
		return Metric{
			Name: name, Kind: Counter, Labels: []string{"client"}, Bound: bound, MaxSeries: MaxSaramaClients, Help: help,
		}
	}
	sample := func(name, unit, help string) Metric {
		return Metric{
			Name: name, Kind: Gauge, Unit: unit, Labels: []string{"client", "percentile"}, Help: help,
			MaxSeries: percentiles * MaxSaramaClients, Bound: bound + "; percentiles 50, 95, 99",
		}
	}
	return Catalogue{
		counter(KafkaClientRecordsSentTotal, "Records written into produce requests, those sent again included."),
		counter(KafkaClientBatchesSentTotal, "Record batches, one for each partition of a request, written into produce requests."),
		sample(KafkaClientBatchSizeBytes, "By", "Recent percentiles of the size of a record batch as sent."),
		sample(KafkaClientRecordsPerRequest, "", "Recent percentiles of the number of records in a produce request."),
		sample(KafkaClientCompressionRatio, "", "Recent percentiles of a compressed batch's size before, over its size after."),
		counter(KafkaClientGroupJoinsTotal, "Requests to join a consumer group."),
		counter(KafkaClientGroupJoinFailuresTotal,
			"Requests to join a consumer group that were not granted; a new member's first is refused by design."),
	}
}
