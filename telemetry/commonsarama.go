package telemetry

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
