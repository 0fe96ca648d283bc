package otelkafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry"
)

// scope is the name of this package's tracer.
const scope = "github.com/vigie-dev/vigie/telemetry/otelkafka"

// Options says what the service does with Kafka.
type Options struct {
	// ConsumerGroup is the group's id, an attribute of process spans. Empty for a service that only produces.
	ConsumerGroup string
	// Produces and Consumes are topics. Their counters are exported as zero from the start.
	Produces, Consumes []string
}

// Instrumentation makes the spans and feeds the metrics of one service's records. All methods are safe for
// concurrent use.
type Instrumentation struct {
	tracer      trace.Tracer
	propagator  propagation.TextMapPropagator
	fields      []string
	logger      *slog.Logger
	instruments *telemetry.Instruments
	produced    metric.Int64Counter
	consumed    metric.Int64Counter
	duration    metric.Float64Histogram
	topics      *topicTable
}

// New returns the instrumentation of the service that t belongs to, and exports its topics' counters as zero.
// It fails if a topic's name is empty.
func New(t *telemetry.Telemetry, options Options) (*Instrumentation, error) {
	i := &Instrumentation{
		tracer:      t.TracerProvider().Tracer(scope, trace.WithInstrumentationVersion(t.Version()), trace.WithSchemaURL(schemaURL)),
		propagator:  t.Propagator(),
		fields:      t.Propagator().Fields(),
		logger:      t.Logger(),
		instruments: t.Instruments(),
		topics:      newTopicTable(options.ConsumerGroup),
	}
	var errs [3]error
	i.produced, errs[0] = i.instruments.Int64Counter(telemetry.KafkaMessagesProducedTotal)
	i.consumed, errs[1] = i.instruments.Int64Counter(telemetry.KafkaMessagesConsumedTotal)
	i.duration, errs[2] = i.instruments.Float64Histogram(telemetry.KafkaMessageProcessingDuration)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("instrument Kafka for %s: %w", t.Service(), err)
	}
	for _, topic := range append(append([]string(nil), options.Produces...), options.Consumes...) {
		if topic == "" {
			return nil, fmt.Errorf("instrument Kafka for %s: a topic has no name", t.Service())
		}
	}
	for _, topic := range options.Produces {
		i.Produced(context.Background(), topic, 0)
	}
	for _, topic := range options.Consumes {
		i.Consumed(context.Background(), topic, 0)
	}
	return i, nil
}

// Produced adds n records that Kafka acknowledged to kafka_messages_produced_total. Use it for batches whose
// records carry their context in the headers already, such as an outbox; [SendSpan.End] counts its own record.
func (i *Instrumentation) Produced(ctx context.Context, topic string, n int64) {
	i.produced.Add(ctx, n, i.topics.get(topic).add...)
}

// Consumed adds n records to kafka_messages_consumed_total. Call it once their outcome is certain, so that a
// record whose batch is read again counts once.
func (i *Instrumentation) Consumed(ctx context.Context, topic string, n int64) {
	i.consumed.Add(ctx, n, i.topics.get(topic).add...)
}
