package otelkafka

import (
	"context"
	"errors"
	"strconv"
	"unicode/utf8"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// schemaURL names the version of the semantic conventions that this package is written against: 1.43.0.
// See https://opentelemetry.io/docs/specs/semconv/messaging/kafka/.
const schemaURL = semconv.SchemaURL

// Operations, as spans and metrics name them.
const (
	operationSend    = "send"
	operationProcess = "process"
)

// maxKeyAttribute bounds a record's key as an attribute, in bytes.
const maxKeyAttribute = 128

// spanAttributes makes the attributes that all spans of a service have in common.
type spanAttributes struct{ group, clientID string }

func (s spanAttributes) send(topic string) []attribute.KeyValue {
	return s.common(topic, operationSend, semconv.MessagingOperationTypeSend)
}

func (s spanAttributes) process(topic string) []attribute.KeyValue {
	attributes := s.common(topic, operationProcess, semconv.MessagingOperationTypeProcess)
	if s.group != "" {
		attributes = append(attributes, semconv.MessagingConsumerGroupName(s.group))
	}
	return attributes
}

func (s spanAttributes) common(topic, operation string, kind attribute.KeyValue) []attribute.KeyValue {
	attributes := []attribute.KeyValue{
		semconv.MessagingSystemKafka,
		semconv.MessagingDestinationName(topic),
		semconv.MessagingOperationName(operation),
		kind,
	}
	if s.clientID != "" {
		attributes = append(attributes, semconv.MessagingClientID(s.clientID))
	}
	return attributes
}

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

// errorType names the kind of error with few different values: its ErrorType method if it has one, Kafka's code
// ("kafka.19"), the context's end ("context.Canceled", "context.DeadlineExceeded"), else its Go type. An error's
// text stays out of spans and metrics, for it can hold anything.
func errorType(err error) attribute.KeyValue {
	var typed interface{ ErrorType() string }
	var code sarama.KError
	switch {
	case errors.As(err, &typed):
		return semconv.ErrorType(err)
	case errors.As(err, &code):
		return semconv.ErrorTypeKey.String("kafka." + strconv.Itoa(int(code)))
	case errors.Is(err, context.Canceled):
		return semconv.ErrorTypeKey.String("context.Canceled")
	case errors.Is(err, context.DeadlineExceeded):
		return semconv.ErrorTypeKey.String("context.DeadlineExceeded")
	default:
		return semconv.ErrorType(err)
	}
}
