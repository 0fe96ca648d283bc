package otelkafka

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/internal/labels"
)

// Versions of the semantic conventions: schemaURL names the one that this package is written against, 1.43.0, and
// newestSchemaURL the one that spans are said to follow where OTEL_SEMCONV_STABILITY_OPT_IN asks for the newest. Of what this
// package records 1.44.0 renames nothing; it adds the cluster's id, and defines a span for each operation, as they are here.
// See https://opentelemetry.io/docs/specs/semconv/messaging/kafka/.
const (
	schemaURL       = semconv.SchemaURL
	newestSchemaURL = "https://opentelemetry.io/schemas/1.44.0"
)

// Operations, as spans and metrics name them.
const (
	operationSend    = "send"
	operationProcess = "process"
)

// maxKeyAttribute bounds a record's key as an attribute, in bytes.
const maxKeyAttribute = 128

// spanAttributes makes the names and the attributes that all spans of a topic have in common.
type spanAttributes struct {
	Options
	lazy bool // they are for spans that record
}

func (s spanAttributes) name(operation, topic string) string {
	if s.SpanName != nil {
		return s.SpanName(operation, topic)
	}
	return operation + " " + topic
}

func (s spanAttributes) send(topic string) []attribute.KeyValue {
	return s.common(topic, operationSend, semconv.MessagingOperationTypeSend)
}

func (s spanAttributes) process(topic string) []attribute.KeyValue {
	attributes := s.common(topic, operationProcess, semconv.MessagingOperationTypeProcess)
	if s.ConsumerGroup != "" {
		attributes = append(attributes, semconv.MessagingConsumerGroupName(s.ConsumerGroup))
	}
	return attributes
}

func (s spanAttributes) common(topic, operation string, kind attribute.KeyValue) []attribute.KeyValue {
	attributes := append(slices.Clip(s.Attributes),
		semconv.MessagingSystemKafka,
		semconv.MessagingDestinationName(topic),
		semconv.MessagingOperationName(operation),
		kind,
	)
	if s.ClientID != "" {
		attributes = append(attributes, semconv.MessagingClientID(s.ClientID))
	}
	if s.ClusterID != "" {
		attributes = append(attributes, clusterIDKey.String(s.ClusterID))
	}
	if s.ServerAddress != "" {
		host, port, err := net.SplitHostPort(s.ServerAddress)
		if err != nil { // without a port
			host = s.ServerAddress
		}
		attributes = append(attributes, semconv.ServerAddress(host))
		if number, err := strconv.Atoi(port); err == nil {
			attributes = append(attributes, semconv.ServerPort(number))
		}
	}
	return attributes
}

// clusterIDKey is what version 1.44 of the conventions names a cluster's id by.
const clusterIDKey = attribute.Key("messaging.kafka.cluster.id")

// positionAttributes say where a record stands in the log.
func positionAttributes(partition int32, offset int64) []attribute.KeyValue {
	return []attribute.KeyValue{
		semconv.MessagingDestinationPartitionID(strconv.Itoa(int(partition))),
		semconv.MessagingKafkaOffset(int(offset)),
	}
}

func batchAttributes(count int) []attribute.KeyValue {
	return []attribute.KeyValue{semconv.MessagingSystemKafka, semconv.MessagingBatchMessageCount(count)}
}

// keyAttribute returns the record's key as an attribute, or false for one that is absent, too long or no text.
func keyAttribute(key []byte) (attribute.KeyValue, bool) {
	if len(key) == 0 || len(key) > maxKeyAttribute || !utf8.Valid(key) {
		return attribute.KeyValue{}, false
	}
	return semconv.MessagingKafkaMessageKey(string(key)), true
}

// valueAttributes say what the conventions want to know of a value: that it is absent, which makes the record a
// tombstone, and, where asked for, its size in bytes before compression.
func valueAttributes(absent bool, size int, sized bool) []attribute.KeyValue {
	var attributes []attribute.KeyValue
	if absent {
		attributes = append(attributes, semconv.MessagingKafkaMessageTombstone(true))
	}
	if sized {
		attributes = append(attributes, semconv.MessagingMessageBodySize(size))
	}
	return attributes
}

// errorType names the kind of error with few different values: its ErrorType method if it has one, the name of Kafka's
// code ("NOT_ENOUGH_REPLICAS"), sarama's own ("sarama.ErrOutOfBrokers"), the context's end ("context.Canceled", "context.DeadlineExceeded"), else its Go type. An error's
// text stays out of spans and metrics, for it can hold anything.
func errorType(err error) attribute.KeyValue {
	var typed interface{ ErrorType() string }
	var code sarama.KError
	switch {
	case errors.As(err, &typed):
		return semconv.ErrorType(err)
	case errors.As(err, &code):
		return semconv.ErrorTypeKey.String(codeName(code))
	case errors.Is(err, context.Canceled):
		return semconv.ErrorTypeKey.String("context.Canceled")
	case errors.Is(err, context.DeadlineExceeded):
		return semconv.ErrorTypeKey.String("context.DeadlineExceeded")
	}
	if name := saramaName(err); name != "" {
		return semconv.ErrorTypeKey.String(name)
	}
	return semconv.ErrorType(err)
}

// saramaName returns the name of an error that sarama itself gives, and whose type says nothing.
func saramaName(err error) string {
	for name, known := range map[string]error{
		"sarama.ErrOutOfBrokers": sarama.ErrOutOfBrokers, "sarama.ErrClosedClient": sarama.ErrClosedClient,
		"sarama.ErrNotConnected": sarama.ErrNotConnected, "sarama.ErrShuttingDown": sarama.ErrShuttingDown,
		"sarama.ErrIncompleteResponse": sarama.ErrIncompleteResponse, "sarama.ErrMessageTooLarge": sarama.ErrMessageTooLarge,
	} {
		if errors.Is(err, known) {
			return name
		}
	}
	return ""
}

// codeNames are the names of Kafka's error codes from 1 on, as the protocol's documentation has them.
const codeNames = "OFFSET_OUT_OF_RANGE CORRUPT_MESSAGE UNKNOWN_TOPIC_OR_PARTITION INVALID_FETCH_SIZE LEADER_NOT_AVAILABLE " +
	"NOT_LEADER_OR_FOLLOWER REQUEST_TIMED_OUT BROKER_NOT_AVAILABLE REPLICA_NOT_AVAILABLE MESSAGE_TOO_LARGE " +
	"STALE_CONTROLLER_EPOCH OFFSET_METADATA_TOO_LARGE NETWORK_EXCEPTION COORDINATOR_LOAD_IN_PROGRESS " +
	"COORDINATOR_NOT_AVAILABLE NOT_COORDINATOR INVALID_TOPIC_EXCEPTION RECORD_LIST_TOO_LARGE NOT_ENOUGH_REPLICAS " +
	"NOT_ENOUGH_REPLICAS_AFTER_APPEND INVALID_REQUIRED_ACKS ILLEGAL_GENERATION INCONSISTENT_GROUP_PROTOCOL INVALID_GROUP_ID " +
	"UNKNOWN_MEMBER_ID INVALID_SESSION_TIMEOUT REBALANCE_IN_PROGRESS INVALID_COMMIT_OFFSET_SIZE TOPIC_AUTHORIZATION_FAILED " +
	"GROUP_AUTHORIZATION_FAILED CLUSTER_AUTHORIZATION_FAILED INVALID_TIMESTAMP UNSUPPORTED_SASL_MECHANISM ILLEGAL_SASL_STATE " +
	"UNSUPPORTED_VERSION TOPIC_ALREADY_EXISTS INVALID_PARTITIONS INVALID_REPLICATION_FACTOR INVALID_REPLICA_ASSIGNMENT " +
	"INVALID_CONFIG NOT_CONTROLLER INVALID_REQUEST UNSUPPORTED_FOR_MESSAGE_FORMAT POLICY_VIOLATION " +
	"OUT_OF_ORDER_SEQUENCE_NUMBER DUPLICATE_SEQUENCE_NUMBER INVALID_PRODUCER_EPOCH INVALID_TXN_STATE " +
	"INVALID_PRODUCER_ID_MAPPING INVALID_TRANSACTION_TIMEOUT CONCURRENT_TRANSACTIONS TRANSACTION_COORDINATOR_FENCED " +
	"TRANSACTIONAL_ID_AUTHORIZATION_FAILED SECURITY_DISABLED OPERATION_NOT_ATTEMPTED KAFKA_STORAGE_ERROR LOG_DIR_NOT_FOUND " +
	"SASL_AUTHENTICATION_FAILED UNKNOWN_PRODUCER_ID"

// codeName returns the name of an error code, and its number for those that a client hardly meets.
func codeName(code sarama.KError) string {
	n := int(code)
	for name := range strings.SplitSeq(codeNames, " ") {
		if n--; n == 0 {
			return name
		}
	}
	if code == sarama.ErrProducerFenced {
		return "PRODUCER_FENCED"
	}
	return "kafka." + strconv.Itoa(int(code))
}

// conventions records the metrics of [catalogue.Conventions] that are about messages.
type conventions struct {
	operation, process metric.Float64Histogram
	sends, deliveries  metric.Int64Counter
	group              string
	sendBudget         *catalogue.Budget
	processBudget      *catalogue.Budget

	failures *labels.Cache[failedSeries, *conventionOptions]

	mu    sync.Mutex
	kinds map[string]struct{} // of errors, that have a value of error.type
}

// failedSeries is one kind of failure of an operation on a topic.
type failedSeries struct{ operation, topic, kind string }

// conventionOptions holds an attribute set in the form each instrument takes it.
type conventionOptions struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

func newConventions(instruments *catalogue.Instruments, group string) (*conventions, error) {
	c := &conventions{
		group: group, kinds: make(map[string]struct{}),
		sendBudget:    instruments.Budget(catalogue.MessagingClientSentMessages, 2),
		processBudget: instruments.Budget(catalogue.MessagingProcessDuration, 2),
	}
	bounded := func(failedSeries) bool { return true } // by its topic, which is a label, and its kind
	c.failures = labels.NewCache(bounded, c.newFailure)
	var errs [4]error
	c.operation, errs[0] = instruments.Float64Histogram(catalogue.MessagingClientOperationDuration)
	c.process, errs[1] = instruments.Float64Histogram(catalogue.MessagingProcessDuration)
	c.sends, errs[2] = instruments.Int64Counter(catalogue.MessagingClientSentMessages)
	c.deliveries, errs[3] = instruments.Int64Counter(catalogue.MessagingClientConsumedMessages)
	return c, errors.Join(errs[:]...)
}

// admitSend takes a set out of the budget for sends to a topic that ended with that kind of error, "" for success, and
// returns its attributes: those of _OTHER once the budget is used up.
func (c *conventions) admitSend(topic, kind string) *conventionOptions {
	if !c.sendBudget.Admit(topic, kind) {
		topic, kind = catalogue.LabelOther, otherKind(kind)
	}
	list := commonAttributes(operationSend, topic, kind)
	return &conventionOptions{
		add: []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(list...))},
		record: []metric.RecordOption{
			metric.WithAttributeSet(attribute.NewSet(append(list, semconv.MessagingOperationTypeSend)...)),
		},
	}
}

// admitProcess is admitSend for records that were handled.
func (c *conventions) admitProcess(topic, kind string) *conventionOptions {
	group := c.group
	if !c.processBudget.Admit(topic, kind, group) {
		topic, kind, group = catalogue.LabelOther, otherKind(kind), catalogue.LabelOther
	}
	list := commonAttributes(operationProcess, topic, kind)
	if group != "" {
		list = append(list, semconv.MessagingConsumerGroupName(group))
	}
	set := metric.WithAttributeSet(attribute.NewSet(list...))
	return &conventionOptions{add: []metric.AddOption{set}, record: []metric.RecordOption{set}}
}

func otherKind(kind string) string {
	if kind == "" {
		return ""
	}
	return catalogue.LabelOther
}

func commonAttributes(operation, topic, kind string) []attribute.KeyValue {
	list := []attribute.KeyValue{
		semconv.MessagingSystemKafka, semconv.MessagingOperationName(operation), semconv.MessagingDestinationName(topic),
	}
	if kind != "" {
		list = append(list, semconv.ErrorTypeKey.String(kind))
	}
	return list
}

func (c *conventions) newFailure(series failedSeries) *conventionOptions {
	if series.operation == operationProcess {
		return c.admitProcess(series.topic, series.kind)
	}
	return c.admitSend(series.topic, series.kind)
}

// failure returns the attribute sets of an operation on a topic that failed.
func (c *conventions) failure(operation, topic string, err error) *conventionOptions {
	options, _ := c.failures.Get(failedSeries{operation, topic, c.kind(err)})
	return options
}

// Bounds of error.type in metrics: its values, and their length in bytes. All else is _OTHER.
const (
	maxErrorKinds = 20
	maxErrorKind  = 128
)

// kind names the kind of an error if it is among the first.
func (c *conventions) kind(err error) string {
	name := errorType(err).Value.AsString()
	if len(name) > maxErrorKind || !utf8.ValidString(name) {
		return catalogue.LabelOther
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.kinds[name]; !known && len(c.kinds) >= maxErrorKinds {
		return catalogue.LabelOther
	}
	c.kinds[name] = struct{}{}
	return name
}

// recordSend records a send that took that many seconds. One that succeeded is counted by [Instrumentation.CountProduced].
func (c *conventions) recordSend(ctx context.Context, options *topicOptions, seconds float64, err error) {
	set := options.sent
	if err != nil {
		set = c.failure(operationSend, options.label, err)
		c.sends.Add(ctx, 1, set.add...)
	}
	c.operation.Record(ctx, seconds, set.record...)
}

// recordProcess records the handling of n records at once, that took that many seconds.
func (c *conventions) recordProcess(ctx context.Context, options *topicOptions, n int, seconds float64, err error) {
	set := options.processed
	if err != nil {
		set = c.failure(operationProcess, options.label, err)
	}
	c.deliveries.Add(ctx, int64(n), set.add...)
	c.process.Record(ctx, seconds, set.record...)
}
