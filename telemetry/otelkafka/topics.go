package otelkafka

import (
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry"
)

// topicOptions holds everything about a topic that a record's hot path would otherwise build anew.
type topicOptions struct {
	label                 string // of metrics: the topic, or _OTHER
	sendName, processName string
	// Attributes are added to spans that record: samplers of OTEL_TRACES_SAMPLER look at none, and a list of them
	// for each span would be most of what a span costs that is not sampled.
	send, process                     []trace.SpanStartOption
	sendAttributes, processAttributes []attribute.KeyValue
	add                               []metric.AddOption
	record                            []metric.RecordOption
	sent, processed                   *conventionOptions // nil without the conventions
}

// topicTable keeps the options of each topic seen, as many as the metrics have room for.
type topicTable struct {
	spans      spanAttributes
	budget     *telemetry.Budget
	convention *conventions // nil if off
	mu         sync.RWMutex
	topics     map[string]*topicOptions
}

func newTopicTable(instruments *telemetry.Instruments, spans spanAttributes, convention *conventions) *topicTable {
	return &topicTable{
		spans: spans, convention: convention, topics: make(map[string]*topicOptions),
		budget: instruments.Budget(telemetry.KafkaMessagesProducedTotal, 1),
	}
}

// get returns the topic's options, making them the first time. A topic beyond those that the metrics have room for
// is _OTHER there; its spans still carry its name, and its options are made anew for each record.
func (t *topicTable) get(topic string) *topicOptions {
	t.mu.RLock()
	found := t.topics[topic]
	t.mu.RUnlock()
	if found != nil {
		return found
	}
	if !t.budget.Admit(topic) {
		return t.make(topic, telemetry.LabelOther)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if found = t.topics[topic]; found == nil {
		found = t.make(topic, topic)
		t.topics[topic] = found
	}
	return found
}

func (t *topicTable) make(topic, label string) *topicOptions {
	set := metric.WithAttributeSet(attribute.NewSet(attribute.String("topic", label)))
	options := &topicOptions{
		label:             label,
		sendName:          operationSend + " " + topic,
		processName:       operationProcess + " " + topic,
		send:              []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindProducer)},
		sendAttributes:    t.spans.send(topic),
		process:           []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer)},
		processAttributes: t.spans.process(topic),
		add:               []metric.AddOption{set},
		record:            []metric.RecordOption{set},
	}
	if t.convention != nil {
		options.sent = t.convention.sent(label, "")
		options.processed = t.convention.processed(label, "")
	}
	return options
}
