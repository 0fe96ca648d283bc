package telemetry

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
