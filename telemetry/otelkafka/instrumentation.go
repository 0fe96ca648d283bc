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
	// ClientID is sarama's Config.ClientID, an attribute of all spans; empty leaves it out.
	ClientID string
	// Produces and Consumes are topics. Their counters are exported as zero from the start.
	Produces, Consumes []string
	// Conventions records the metrics of [telemetry.Conventions] that are about messages, beside the documented ones.
	Conventions bool
	// LinkRecords has a process span continue the trace of the context it is started in, or start one, and link the
	// span that sent the record. By default it is that span's child, so that one trace follows a record from service
	// to service; a valid span in the context is linked then.
	LinkRecords bool
	// BodySize adds messaging.message.body.size, which the conventions leave to be asked for, to all spans.
	BodySize bool
}

// Instrumentation makes the spans and feeds the metrics of one service's records. All methods are safe for
// concurrent use.
type Instrumentation struct {
	options     Options
	tracer      trace.Tracer
	propagator  propagation.TextMapPropagator
	fields      []string
	logger      *slog.Logger
	instruments *telemetry.Instruments
	produced    metric.Int64Counter
	consumed    metric.Int64Counter
	duration    metric.Float64Histogram
	convention  *conventions // nil without Options.Conventions
	topics      *topicTable
	observed    observedClients
}

// New returns the instrumentation of the service that t belongs to, and exports its topics' counters as zero.
// It fails if a topic's name is empty.
func New(t *telemetry.Telemetry, options Options) (*Instrumentation, error) {
	i := &Instrumentation{
		options:     options,
		tracer:      t.TracerProvider().Tracer(scope, trace.WithInstrumentationVersion(t.Version()), trace.WithSchemaURL(schemaURL)),
		propagator:  t.Propagator(),
		fields:      t.Propagator().Fields(),
		logger:      t.Logger(),
		instruments: t.Instruments(),
	}
	if err := i.addInstruments(); err != nil {
		return nil, fmt.Errorf("instrument Kafka for %s: %w", t.Service(), err)
	}
	for _, topic := range append(append([]string(nil), options.Produces...), options.Consumes...) {
		if topic == "" {
			return nil, fmt.Errorf("instrument Kafka for %s: a topic has no name", t.Service())
		}
	}
	i.startAtZero(context.Background())
	return i, nil
}

func (i *Instrumentation) addInstruments() error {
	var errs [4]error
	i.produced, errs[0] = i.instruments.Int64Counter(telemetry.KafkaMessagesProducedTotal)
	i.consumed, errs[1] = i.instruments.Int64Counter(telemetry.KafkaMessagesConsumedTotal)
	i.duration, errs[2] = i.instruments.Float64Histogram(telemetry.KafkaMessageProcessingDuration)
	if i.options.Conventions {
		i.convention, errs[3] = newConventions(i.instruments, i.options.ConsumerGroup)
	}
	spans := spanAttributes{group: i.options.ConsumerGroup, clientID: i.options.ClientID}
	i.topics = newTopicTable(i.instruments, spans, i.convention)
	return errors.Join(errs[:]...)
}

// startAtZero exports every counter whose labels are known before its first event.
func (i *Instrumentation) startAtZero(ctx context.Context) {
	for _, topic := range i.options.Produces {
		i.Produced(ctx, topic, 0)
	}
	for _, topic := range i.options.Consumes {
		i.Consumed(ctx, topic, 0)
		if i.convention != nil {
			i.convention.deliveries.Add(ctx, 0, i.topics.get(topic).processed.add...)
		}
	}
}

// Produced adds n records that Kafka acknowledged to kafka_messages_produced_total. Use it for batches whose
// records carry their context in the headers already, such as an outbox; [SendSpan.End] counts its own record.
func (i *Instrumentation) Produced(ctx context.Context, topic string, n int64) {
	i.countProduced(ctx, i.topics.get(topic), n)
}

// Consumed adds n records to kafka_messages_consumed_total. Call it once their outcome is certain, so that a
// record whose batch is read again counts once.
func (i *Instrumentation) Consumed(ctx context.Context, topic string, n int64) {
	i.consumed.Add(ctx, n, i.topics.get(topic).add...)
}

func (i *Instrumentation) countProduced(ctx context.Context, options *topicOptions, n int64) {
	i.produced.Add(ctx, n, options.add...)
	if i.convention != nil {
		i.convention.sends.Add(ctx, n, options.sent.add...)
	}
}
