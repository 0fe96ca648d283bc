package otelkafka

import (
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry"
)

// maxTopics bounds the values of the label topic; topics beyond it share the value _OTHER.
const maxTopics = 200

// topicOptions holds everything about a topic that a record's hot path would otherwise build anew.
type topicOptions struct {
	sendName, processName string
	send, process         []trace.SpanStartOption
	add                   []metric.AddOption
	record                []metric.RecordOption
}

// topicTable keeps the options of each topic seen.
type topicTable struct {
	group  string
	mu     sync.RWMutex
	topics map[string]*topicOptions
}

func newTopicTable(group string) *topicTable {
	return &topicTable{group: group, topics: make(map[string]*topicOptions)}
}

// get returns the topic's options, making them the first time.
func (t *topicTable) get(topic string) *topicOptions {
	t.mu.RLock()
	found, full := t.topics[topic], len(t.topics) >= maxTopics
	t.mu.RUnlock()
	if found != nil {
		return found
	}
	if full {
		topic = telemetry.LabelOther
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if found = t.topics[topic]; found == nil {
		found = newTopicOptions(topic, t.group)
		t.topics[topic] = found
	}
	return found
}

func newTopicOptions(topic, group string) *topicOptions {
	label := metric.WithAttributeSet(attribute.NewSet(attribute.String("topic", topic)))
	return &topicOptions{
		sendName:    "send " + topic,
		processName: "process " + topic,
		send: []trace.SpanStartOption{
			trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(sendAttributes(topic)...),
		},
		process: []trace.SpanStartOption{
			trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(processAttributes(topic, group)...),
		},
		add:    []metric.AddOption{label},
		record: []metric.RecordOption{label},
	}
}
