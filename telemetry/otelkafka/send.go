package otelkafka

import (
	"context"
	"errors"
	"time"

	"github.com/IBM/sarama"
	"github.com/dnwe/otelsarama"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// SendSpan is the span of one record on its way to Kafka.
type SendSpan struct {
	inst    *Instrumentation
	ctx     context.Context
	span    trace.Span
	options *topicOptions
	start   time.Time // zero without the conventions' metrics
	leftOut bool
	ended   bool
}

// StartSend starts the PRODUCER span "send <topic>", a child of the span in ctx, and writes its context into the
// record's headers; see [Instrumentation.Inject]. The context returned holds the span. End it exactly once.
func (i *Instrumentation) StartSend(ctx context.Context, msg *sarama.ProducerMessage) (context.Context, *SendSpan) {
	s := i.newSend(ctx, msg)
	return s.ctx, &s
}

// newSend is StartSend for callers that keep the span themselves, most of which is thrown away unsampled.
func (i *Instrumentation) newSend(ctx context.Context, msg *sarama.ProducerMessage) SendSpan {
	options := i.topics.get(msg.Topic)
	options.takeOff()
	s := SendSpan{inst: i, options: options}
	if i.convention != nil {
		s.start = time.Now()
	}
	s.ctx, s.span = i.tracer.Start(ctx, //nolint:spancheck // ended by SendSpan.End
		options.sendName, options.send...)
	if s.span.IsRecording() {
		s.span.SetAttributes(options.sendAttributes...)
		s.span.SetAttributes(i.outgoingAttributes(msg)...)
	}
	i.Inject(s.ctx, msg)
	return s
}

// outgoingAttributes say what there is to say of one record before it is sent.
func (i *Instrumentation) outgoingAttributes(msg *sarama.ProducerMessage) []attribute.KeyValue {
	size := 0
	if msg.Value != nil {
		size = msg.Value.Length()
	}
	attributes := valueAttributes(isTombstone(msg.Value, size), size, i.options.BodySize)
	if msg.Key == nil || i.options.OmitKeys {
		return attributes
	}
	if key, err := msg.Key.Encode(); err == nil {
		if a, ok := keyAttribute(key); ok {
			attributes = append(attributes, a)
		}
	}
	return attributes
}

// isTombstone reports whether Kafka gets no value, as it does not from an encoder that gives nil either.
func isTombstone(value sarama.Encoder, size int) bool {
	if value == nil || size > 0 {
		return value == nil
	}
	encoded, err := value.Encode()
	return err == nil && encoded == nil
}

// End ends the span. With a nil error the record stands at that place in the log and counts in
// kafka_messages_produced_total; with an error the span fails, partition and offset are ignored, and the record counts in
// kafka_send_failures_total.
func (s *SendSpan) End(partition int32, offset int64, err error) {
	if !s.ended {
		s.ended = true
		s.options.land()
	}
	if err == nil {
		if s.span.IsRecording() {
			s.span.SetAttributes(positionAttributes(partition, offset)...)
		}
		if !s.leftOut {
			s.inst.addProduced(s.ctx, s.options, 1)
		}
	} else {
		fail(s.span, err)
		if !s.leftOut {
			s.options.sendFailed.add(1)
		}
	}
	if s.inst.convention != nil {
		s.inst.convention.recordSend(s.ctx, s.options, time.Since(s.start).Seconds(), err)
	}
	s.span.End()
}

// LeaveOut has the record not count in kafka_messages_produced_total, nor as a failure: one that a monitor sends to see whether it arrives,
// say. Its span is as any other.
func (s *SendSpan) LeaveOut() { s.leftOut = true }

// SpanContext identifies the span, to link it from a batch.
func (s *SendSpan) SpanContext() trace.SpanContext { return s.span.SpanContext() }

// fail marks a span as failed by the kind of error, without its text.
func fail(span trace.Span, err error) {
	if !span.IsRecording() {
		return
	}
	kind := errorType(err)
	span.SetStatus(codes.Error, kind.Value.AsString())
	span.SetAttributes(kind)
}

// WithContext sets in which context a record is sent by a producer of [WrapSyncProducer] or [WrapAsyncProducer],
// and returns the record:
//
//	producer.Input() <- otelkafka.WithContext(ctx, msg)
//
// The span in ctx becomes the parent of the record's send span, and the baggage in ctx travels with the record.
// Nothing else of ctx is used: its end neither stops nor fails the sending. The context waits in Metadata and is
// taken out before sarama sees the record, so partitioners, interceptors and the reader of Successes find the
// Metadata that was there before. A producer that is not wrapped would leave it in.
//
// A record without a context of its own is sent in that of its headers, if [Instrumentation.Inject] or any other
// W3C propagator wrote one there, as into an outbox; else its span is a root.
func WithContext(ctx context.Context, msg *sarama.ProducerMessage) *sarama.ProducerMessage {
	if earlier, ok := msg.Metadata.(*sending); ok {
		msg.Metadata = earlier.metadata
	}
	msg.Metadata = &sending{ctx: ctx, metadata: msg.Metadata}
	return msg
}

// sending is a record's context on its way to the wrapper, with the user's Metadata.
type sending struct {
	ctx      context.Context //nolint:containedctx // handed over with the record, as sarama's channels take no other
	metadata any
}

// takeContext returns the context in which the record is sent and gives Metadata back.
func (i *Instrumentation) takeContext(msg *sarama.ProducerMessage) context.Context {
	if s, ok := msg.Metadata.(*sending); ok {
		msg.Metadata = s.metadata
		return s.ctx
	}
	for _, h := range msg.Headers {
		if i.isContext(h.Key) {
			return i.propagator.Extract(context.Background(), &sendCarrier{ProducerMessageCarrier: otelsarama.NewProducerMessageCarrier(msg), msg: msg})
		}
	}
	return context.Background()
}

// WrapSyncProducer returns a producer that sends by p, with one span "send <topic>" per record and every record
// that Kafka acknowledged counted. Each record's span has its own outcome, also in SendMessages. The parent of a
// span is that of [WithContext]. All other methods, transactions included, are p's own. The record comes back as
// it was given, but for the headers that carry its trace context; the wrapper starts no goroutine.
//
// Kafka must know headers: sarama's Config.Version must be V0_11_0_0 or newer, as its default is. [NewSyncProducer], which
// knows the configuration, looks after that.
//
// A producer that is wrapped already is returned as it is, so that no record counts twice. It panics if p or i is nil.
func WrapSyncProducer(p sarama.SyncProducer, i *Instrumentation) sarama.SyncProducer {
	if p == nil || i == nil {
		panic("otelkafka: WrapSyncProducer: the producer or the instrumentation is nil")
	}
	if _, wrapped := p.(*syncProducer); wrapped {
		return p
	}
	return &syncProducer{SyncProducer: p, inst: i}
}

type syncProducer struct {
	sarama.SyncProducer
	inst       *Instrumentation
	headerless bool
	unobserve  func() // nil for a producer that was wrapped
}

// start starts a record's span.
func (p *syncProducer) start(msg *sarama.ProducerMessage) SendSpan {
	headers := msg.Headers
	span := p.inst.newSend(p.inst.takeContext(msg), msg)
	if p.headerless {
		msg.Headers = headers
	}
	return span
}

// Close implements [sarama.SyncProducer].
func (p *syncProducer) Close() error {
	err := p.SyncProducer.Close()
	if p.unobserve != nil {
		p.unobserve()
	}
	return err
}

// SendMessage implements [sarama.SyncProducer].
func (p *syncProducer) SendMessage(msg *sarama.ProducerMessage) (partition int32, offset int64, err error) {
	span := p.start(msg)
	err = errPanicked{} // as sarama does on a producer that is closed
	defer func() { span.End(partition, offset, err) }()
	partition, offset, err = p.SyncProducer.SendMessage(msg)
	return partition, offset, err
}

// SendMessages implements [sarama.SyncProducer].
func (p *syncProducer) SendMessages(msgs []*sarama.ProducerMessage) (err error) {
	spans := make([]SendSpan, len(msgs))
	for n, msg := range msgs {
		spans[n] = p.start(msg)
	}
	err = errPanicked{}
	defer func() {
		failed := failuresOf(err)
		for n, msg := range msgs {
			spans[n].End(msg.Partition, msg.Offset, failed.of(msg))
		}
	}()
	err = p.SyncProducer.SendMessages(msgs)
	return err
}

// sendFailures says which records of a batch failed, and why.
type sendFailures struct {
	all    error // of a producer that does not say which
	byItem map[*sarama.ProducerMessage]error
}

func failuresOf(err error) sendFailures {
	var each sarama.ProducerErrors
	if err == nil || !errors.As(err, &each) {
		return sendFailures{all: err}
	}
	f := sendFailures{byItem: make(map[*sarama.ProducerMessage]error, len(each))}
	for _, e := range each {
		f.byItem[e.Msg] = e.Err
	}
	return f
}

func (f sendFailures) of(msg *sarama.ProducerMessage) error {
	if f.all != nil {
		return f.all
	}
	return f.byItem[msg]
}
