// Package otelkafka gives records sent and received with IBM/sarama their spans and metrics.
//
// It exists because a record's trace must survive a system that works in batches: the process span of a record
// covers its handler and nothing else and is always a child of the context in the record's headers, while work
// done for many records at once has a span of its own that links them. The metrics are those of
// [catalogue.Common]; their topics are exported as zero from the start, so that rate() sees the first record.
//
// It needs OpenTelemetry's API alone: [New] takes the providers that there are, the global ones by default, or those of
// package telemetry's Setup.
//
// A service makes its producers with [NewSyncProducer] or [NewAsyncProducer] and its consumers with [NewConsumerGroup], or
// wraps producers that it has with [WrapSyncProducer] or [WrapAsyncProducer]; it sets with [WithContext] in which
// context a record is sent, and handles records through [NewHandler] or [NewBatchHandler]; a handler of its own loops over
// [Instrumentation.Records] or [Instrumentation.Batches]. Who reads partitions without a group makes a [NewConsumer].
// [Lag] and [Rebalances] show how far it is behind and how its group does, and [ObserveSarama] shows what sarama measures itself.
//
// Header carriers come from dnwe/otelsarama. Spans follow one version of the semantic conventions for messaging.
//
// The files, in the order in which to read them:
//
//   - instrumentation.go: what a service says of itself, and what is kept of each topic
//   - semconv.go: the conventions' names, attributes and metrics
//   - headers.go: trace context in a record's headers
//   - send.go: a record's send span, the context it is sent in, and the synchronous producer
//   - async.go: the asynchronous producer, from Input to the span's end
//   - clients.go: the producers made here, with what sarama measures of them
//   - process.go: a record's process span, and the loops and handlers that make one for each record
//   - batch.go: work for many records at once, and the loops and handlers of batches
//   - underway.go: what is in the hands of handlers, and on its way to Kafka
//   - failures.go: counting the records that could not be processed
//   - consumergroup.go: a group's member, with its lag by its marks, and its rebalances
//   - consumer.go: partitions that are read without a group
//   - lag.go: what is left to process in the partitions that one has
//   - progress.go: what is known of one partition, and what its lag and its age follow from
//   - lagbroker.go: where logs begin, end, and hold a record, as the brokers say
//   - rebalance.go: a group member's rebalances by cause
//   - saramametrics.go: what sarama itself measures
package otelkafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/internal/labels"
	"github.com/vigie-dev/vigie/telemetry/internal/optin"
)

// scope is the name of this package's tracer.
const scope = "github.com/vigie-dev/vigie/telemetry/otelkafka"

// Option says something to [New]: where telemetry goes, by [WithTelemetry], [WithTracerProvider], [WithMeterProvider],
// [WithPropagators] and [WithLogger], or, as [Options], what the service does with Kafka.
type Option interface{ apply(config *config) }

// Options is what the service does with Kafka.
type Options struct {
	// ConsumerGroup is the group's id, an attribute of process spans. Empty for a service that only produces.
	ConsumerGroup string
	// ClientID is sarama's Config.ClientID, an attribute of all spans; empty leaves it out.
	ClientID string
	// Produces and Consumes are topics. Their counters are exported as zero from the start.
	Produces, Consumes []string
	// Conventions records the metrics of [catalogue.Conventions] that are about messages, beside the documented ones. So does
	// the variable OTEL_SEMCONV_STABILITY_OPT_IN, where it names messaging or messaging/dup.
	Conventions bool
	// LinkRecords has a process span continue the trace of the context it is started in, or start one, and link the
	// span that sent the record. By default it is that span's child, so that one trace follows a record from service
	// to service; a valid span in the context is linked then.
	LinkRecords bool
	// BodySize adds messaging.message.body.size, which the conventions leave to be asked for, to all spans.
	BodySize bool
	// OmitKeys leaves records' keys out of spans: for keys that say something of people.
	OmitKeys bool
	// OmitBaggage has baggage neither read from records' headers nor written into them: for topics that strangers write to.
	OmitBaggage bool
	// SpanName names the spans of records in place of "send <topic>" and "process <topic>". It is called once for each
	// operation, "send" or "process", and topic, or little more often; names are to be few.
	SpanName func(operation, topic string) string
	// Attributes are added to the spans of records. Those that the conventions have win.
	Attributes []attribute.KeyValue
	// ServerAddress is a broker by which the cluster is reached, "kafka.example.org:9092", and ClusterID the cluster's id:
	// attributes of the spans of records. Empty leaves them out, for sarama does not say them.
	ServerAddress, ClusterID string
}

func (o Options) apply(c *config) { c.Options = o }

// config is what the options say.
type config struct {
	Options
	tracers     trace.TracerProvider
	meters      metric.MeterProvider
	propagator  propagation.TextMapPropagator
	logger      *slog.Logger
	version     string
	schemaURL   string                 // of the conventions that spans follow
	instruments *catalogue.Instruments // of others, in place of meters
	lazy        bool                   // no sampler looks at attributes
	errs        []error
}

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// Telemetry is what [WithTelemetry] takes: *telemetry.Telemetry, or another thing that has these.
type Telemetry interface {
	TracerProvider() trace.TracerProvider
	Instruments() *catalogue.Instruments
	Propagator() propagation.TextMapPropagator
	Logger() *slog.Logger
	Version() string
}

// WithTelemetry has spans, metrics, trace context and log lines go where t's go.
func WithTelemetry(t Telemetry) Option {
	return optionFunc(func(c *config) {
		if isNil(t) {
			c.errs = append(c.errs, errors.New("telemetry is nil"))
			return
		}
		c.tracers, c.instruments, c.propagator = t.TracerProvider(), t.Instruments(), t.Propagator()
		c.logger, c.version, c.lazy = t.Logger(), t.Version(), true
	})
}

// WithTracerProvider has spans made by p. The default, also for nil, is OpenTelemetry's global provider. Its samplers see the
// attributes that the records of a topic have in common; those of one record are added to spans that are recorded.
func WithTracerProvider(p trace.TracerProvider) Option {
	return optionFunc(func(c *config) { c.tracers, c.lazy = p, false })
}

// WithMeterProvider has the metrics of [catalogue.Common] recorded with p, under their names in OpenTelemetry
// ([catalogue.Metric.InstrumentName]): kafka.messages.produced, say. The default, also for nil, is OpenTelemetry's
// global provider. The service's name is the resource's, service.name.
func WithMeterProvider(p metric.MeterProvider) Option {
	return optionFunc(func(c *config) { c.meters, c.instruments = p, nil })
}

// WithPropagators has trace context written into records' headers and read from them by p. The default, also for nil,
// is OpenTelemetry's global propagator, which does nothing until otel.SetTextMapPropagator gave it something to do.
func WithPropagators(p propagation.TextMapPropagator) Option {
	return optionFunc(func(c *config) { c.propagator = p })
}

// WithLogger has what goes wrong beside the records, such as a broker that does not say where a log ends, logged by l.
// The default, also for nil, is slog's.
func WithLogger(l *slog.Logger) Option {
	return optionFunc(func(c *config) { c.logger = l })
}

func newConfig(options []Option) (config, error) {
	var c config
	for _, option := range options {
		if option == nil {
			c.errs = append(c.errs, errors.New("an option is nil"))
			continue
		}
		option.apply(&c)
	}
	for _, topic := range slices.Concat(c.Produces, c.Consumes) {
		if topic == "" {
			c.errs = append(c.errs, errors.New("a topic has no name"))
		}
	}
	if c.tracers == nil {
		c.tracers = otel.GetTracerProvider()
	}
	if c.meters == nil {
		c.meters = otel.GetMeterProvider()
	}
	if c.instruments == nil {
		c.instruments = catalogue.NewInstruments(c.meters, slices.Concat(catalogue.Common(), catalogue.Optional()))
	}
	if c.propagator == nil {
		c.propagator = otel.GetTextMapPropagator()
	}
	if c.logger == nil {
		c.logger = slog.Default()
	}
	c.schemaURL = schemaURL
	if optin.Newest("messaging") {
		c.schemaURL, c.Conventions = newestSchemaURL, true
	}
	if c.OmitBaggage {
		c.propagator = withoutBaggage{c.propagator}
	}
	return c, errors.Join(c.errs...)
}

// Instrumentation makes the spans and feeds the metrics of one service's records. All methods are safe for
// concurrent use.
type Instrumentation struct {
	options     Options
	tracer      trace.Tracer
	propagator  propagation.TextMapPropagator
	fields      []string
	logger      *slog.Logger
	instruments *catalogue.Instruments
	duration    metric.Float64Histogram
	endToEnd    metric.Float64Histogram
	convention  *conventions // nil without Options.Conventions
	topics      *topicTable
	observed    observedClients
	groupLabel  []attribute.KeyValue // the label group; none without a group
	batching    atomic.Int64         // in the hands of handlers
}

// New returns the instrumentation of one service's records, and exports its topics' counters as zero. Without options
// it records with OpenTelemetry's global providers. It fails if a topic's name is empty, or what it is given is nil.
func New(options ...Option) (*Instrumentation, error) {
	c, err := newConfig(options)
	if err != nil {
		return nil, fmt.Errorf("instrument Kafka: %w", err)
	}
	i := &Instrumentation{
		options:     c.Options,
		tracer:      c.tracers.Tracer(scope, trace.WithInstrumentationVersion(c.version), trace.WithSchemaURL(c.schemaURL)),
		propagator:  c.propagator,
		fields:      c.propagator.Fields(),
		logger:      c.logger,
		instruments: c.instruments,
	}
	if err := i.addInstruments(c.lazy); err != nil {
		return nil, fmt.Errorf("instrument Kafka: %w", err)
	}
	i.startAtZero(context.Background())
	return i, nil
}

func (i *Instrumentation) addInstruments(lazy bool) error {
	var errs [5]error
	if i.options.Conventions {
		i.convention, errs[0] = newConventions(i.instruments, i.options.ConsumerGroup)
	}
	if group := i.options.ConsumerGroup; group != "" {
		if !i.instruments.Budget(catalogue.KafkaConsumerRebalanceDuration, 1).Admit(group) {
			group = catalogue.LabelOther
		}
		i.groupLabel = []attribute.KeyValue{attribute.String("group", group)}
	}
	i.topics = newTopicTable(i, spanAttributes{Options: i.options, lazy: lazy})
	errs[1] = i.observeCounts()
	i.duration, errs[2] = i.instruments.Float64Histogram(catalogue.KafkaMessageProcessingDuration)
	i.endToEnd, errs[3] = i.instruments.Float64Histogram(catalogue.KafkaMessageEndToEndDuration)
	errs[4] = i.observeUnderway()
	return errors.Join(errs[:]...)
}

// startAtZero exports every counter whose labels are known before its first event.
func (i *Instrumentation) startAtZero(ctx context.Context) {
	for _, topic := range i.options.Produces {
		options := i.topics.get(topic)
		i.addProduced(ctx, options, 0)
		options.sendFailed.add(0)
		options.produces.Store(true)
	}
	for _, topic := range i.options.Consumes {
		options := i.topics.get(topic)
		i.CountConsumed(ctx, topic, 0)
		options.failed.add(0)
		options.leave(options.take()) // none is in hand, which the page says
		if i.convention != nil {
			i.convention.deliveries.Add(ctx, 0, options.processed.add...)
		}
	}
}

// CountProduced adds n records that Kafka acknowledged to kafka_messages_produced_total. Use it for batches whose
// records carry their context in the headers already, such as an outbox; [SendSpan.End] counts its own record.
func (i *Instrumentation) CountProduced(ctx context.Context, topic string, n int64) {
	i.addProduced(ctx, i.topics.get(topic), n)
}

// CountConsumed adds n records to kafka_messages_consumed_total. Call it once their outcome is certain, so that a
// record whose batch is read again counts once.
func (i *Instrumentation) CountConsumed(_ context.Context, topic string, n int64) {
	i.topics.get(topic).consumed.add(n)
}

func (i *Instrumentation) addProduced(ctx context.Context, options *topicOptions, n int64) {
	options.produced.add(n)
	if i.convention != nil {
		i.convention.sends.Add(ctx, n, options.sent.add...)
	}
}

// topicOptions holds everything about a topic that a record's hot path would otherwise build again.
type topicOptions struct {
	*underway
	label                 string // of metrics: the topic, or _OTHER
	sendName, processName string
	// Attributes are added to spans that record where no sampler looks at them: a list of them for each span would be most
	// of what a span costs that is not sampled.
	send, process                     []trace.SpanStartOption
	sendAttributes, processAttributes []attribute.KeyValue
	record                            []metric.RecordOption
	endToEnd                          []metric.RecordOption // with the group
	sent, processed                   *conventionOptions    // nil without the conventions
}

// topicTable keeps the options of each topic seen, as many as the metrics have room for, and some more.
type topicTable struct {
	spans      spanAttributes
	convention *conventions // nil if off
	groupLabel []attribute.KeyValue
	grouped    *catalogue.Budget // of metrics with topic and group
	underway   underways
	kept       *labels.Cache[string, *topicOptions]
}

// maxOtherTopics bounds the topics that are _OTHER in metrics and have options kept all the same.
const maxOtherTopics = 2000

func newTopicTable(i *Instrumentation, spans spanAttributes) *topicTable {
	t := &topicTable{spans: spans, convention: i.convention, groupLabel: i.groupLabel}
	t.grouped = i.instruments.Budget(catalogue.KafkaMessageEndToEndDuration, 1)
	budget := i.instruments.Budget(catalogue.KafkaMessagesProducedTotal, 1)
	var others atomic.Int64
	t.kept = labels.NewCache(
		func(topic string) bool { return budget.Admit(topic) || others.Add(1) <= maxOtherTopics },
		func(topic string) *topicOptions {
			if budget.Admit(topic) {
				return t.make(topic, topic)
			}
			return t.make(topic, catalogue.LabelOther)
		})
	return t
}

// get returns the topic's options. A topic beyond those that the metrics have room for is _OTHER there; its spans still
// carry its name. Options of topics beyond [maxOtherTopics] are made again for each record.
func (t *topicTable) get(topic string) *topicOptions {
	if kept, ok := t.kept.Get(topic); ok {
		return kept
	}
	return t.make(topic, catalogue.LabelOther)
}

func (t *topicTable) make(topic, label string) *topicOptions {
	set := metric.WithAttributeSet(attribute.NewSet(attribute.String("topic", label)))
	options := &topicOptions{
		underway:    t.underway.of(label),
		label:       label,
		sendName:    t.spans.name(operationSend, topic),
		processName: t.spans.name(operationProcess, topic),
		send:        []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindProducer)},
		process:     []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer)},
		record:      []metric.RecordOption{set},
		endToEnd:    []metric.RecordOption{t.groupedSet(label)},
	}
	if send, process := t.spans.send(topic), t.spans.process(topic); t.spans.lazy {
		options.sendAttributes, options.processAttributes = send, process
	} else {
		options.send = append(options.send, trace.WithAttributes(send...))
		options.process = append(options.process, trace.WithAttributes(process...))
	}
	if t.convention != nil {
		options.sent = t.convention.admitSend(label, "")
		options.processed = t.convention.admitProcess(label, "")
	}
	return options
}

// groupedSet is the label set of a topic and the group, or _OTHER's alone where there is no room for it.
func (t *topicTable) groupedSet(label string) metric.MeasurementOption {
	values := []string{label}
	for _, group := range t.groupLabel {
		values = append(values, group.Value.AsString())
	}
	if !t.grouped.Admit(values...) {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String("topic", catalogue.LabelOther)))
	}
	return metric.WithAttributeSet(attribute.NewSet(append(slices.Clip(t.groupLabel), attribute.String("topic", label))...))
}
