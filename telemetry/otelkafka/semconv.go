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

// schemaURL names the version of the semantic conventions that this file, and no other, is written against.
// See https://opentelemetry.io/docs/specs/semconv/messaging/kafka/.
const schemaURL = semconv.SchemaURL

// maxKeyAttribute bounds a record's key as an attribute, in bytes.
const maxKeyAttribute = 128

func sendAttributes(topic string) []attribute.KeyValue {
	return []attribute.KeyValue{
		semconv.MessagingSystemKafka,
		semconv.MessagingDestinationName(topic),
		semconv.MessagingOperationName("send"),
		semconv.MessagingOperationTypeSend,
	}
}

func processAttributes(topic, group string) []attribute.KeyValue {
	attributes := []attribute.KeyValue{
		semconv.MessagingSystemKafka,
		semconv.MessagingDestinationName(topic),
		semconv.MessagingOperationName("process"),
		semconv.MessagingOperationTypeProcess,
	}
	if group != "" {
		attributes = append(attributes, semconv.MessagingConsumerGroupName(group))
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

// errorType names the kind of error with few different values: its ErrorType method if it has one, Kafka's code,
// the context's end, else its Go type. An error's text stays out of spans, for it can hold anything.
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
