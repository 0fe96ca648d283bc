package otelkafka

import (
	"context"
	"errors"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/vigie-dev/vigie/telemetry"
)

// conventions records the metrics of [telemetry.Conventions] that are about messages.
type conventions struct {
	operation, process metric.Float64Histogram
	sends, deliveries  metric.Int64Counter
	group              string
	sendBudget         *telemetry.Budget
	processBudget      *telemetry.Budget

	mu     sync.RWMutex
	kinds  map[string]struct{}
	failed map[failedSeries]*conventionOptions
}

// failedSeries is one kind of failure of an operation on a topic.
type failedSeries struct{ operation, topic, kind string }

// conventionOptions holds an attribute set in the form each instrument takes it.
type conventionOptions struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

func newConventions(instruments *telemetry.Instruments, group string) (*conventions, error) {
	c := &conventions{
		group: group, kinds: make(map[string]struct{}), failed: make(map[failedSeries]*conventionOptions),
		sendBudget:    instruments.Budget(telemetry.MessagingClientSentMessages, 2),
		processBudget: instruments.Budget(telemetry.MessagingProcessDuration, 2),
	}
	var errs [4]error
	c.operation, errs[0] = instruments.Float64Histogram(telemetry.MessagingClientOperationDuration)
	c.process, errs[1] = instruments.Float64Histogram(telemetry.MessagingProcessDuration)
	c.sends, errs[2] = instruments.Int64Counter(telemetry.MessagingClientSentMessages)
	c.deliveries, errs[3] = instruments.Int64Counter(telemetry.MessagingClientConsumedMessages)
	return c, errors.Join(errs[:]...)
}

// sent returns the attribute sets of sends to a topic that ended with that kind of error, "" for success.
func (c *conventions) sent(topic, kind string) *conventionOptions {
	if !c.sendBudget.Admit(topic, kind) {
		topic, kind = telemetry.LabelOther, otherKind(kind)
	}
	list := commonAttributes(operationSend, topic, kind)
	return &conventionOptions{
		add: []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(list...))},
		record: []metric.RecordOption{
			metric.WithAttributeSet(attribute.NewSet(append(list, semconv.MessagingOperationTypeSend)...)),
		},
	}
}

// processed is sent for records that were handled.
func (c *conventions) processed(topic, kind string) *conventionOptions {
	group := c.group
	if !c.processBudget.Admit(topic, kind, group) {
		topic, kind, group = telemetry.LabelOther, otherKind(kind), telemetry.LabelOther
	}
	list := commonAttributes(operationProcess, topic, kind)
	if group != "" {
		list = append(list, semconv.MessagingConsumerGroupName(group))
	}
	set := metric.WithAttributeSet(attribute.NewSet(list...))
	return &conventionOptions{add: []metric.AddOption{set}, record: []metric.RecordOption{set}}
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

// failure returns the kept options of a failure, making them the first time.
func (c *conventions) failure(operation, topic string, err error) *conventionOptions {
	key := failedSeries{operation, topic, c.kind(errorType(err).Value.AsString())}
	c.mu.RLock()
	found := c.failed[key]
	c.mu.RUnlock()
	if found != nil {
		return found
	}
	build := c.sent
	if operation == operationProcess {
		build = c.processed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if found = c.failed[key]; found == nil {
		found = build(key.topic, key.kind)
		c.failed[key] = found
	}
	return found
}

// sendEnded records a send that took that many seconds. One that succeeded is counted by [Instrumentation.Produced].
func (c *conventions) sendEnded(ctx context.Context, options *topicOptions, seconds float64, err error) {
	set := options.sent
	if err != nil {
		set = c.failure(operationSend, options.label, err)
		c.sends.Add(ctx, 1, set.add...)
	}
	c.operation.Record(ctx, seconds, set.record...)
}

// processEnded records a record's handling that took that many seconds.
func (c *conventions) processEnded(ctx context.Context, options *topicOptions, seconds float64, err error) {
	set := options.processed
	if err != nil {
		set = c.failure(operationProcess, options.label, err)
	}
	c.deliveries.Add(ctx, 1, set.add...)
	c.process.Record(ctx, seconds, set.record...)
}
