package otelkafka

import (
	"context"

	"github.com/IBM/sarama"
	"github.com/dnwe/otelsarama"
)

// WithContext says in which context a record is sent by a producer of [WrapSyncProducer] or [WrapAsyncProducer],
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
			return i.propagator.Extract(context.Background(), sendCarrier{otelsarama.NewProducerMessageCarrier(msg)})
		}
	}
	return context.Background()
}

// sendCarrier bounds what is read from headers that may have come from elsewhere, as boundedCarrier does.
type sendCarrier struct {
	otelsarama.ProducerMessageCarrier
}

func (c sendCarrier) Get(key string) string {
	value := c.ProducerMessageCarrier.Get(key)
	if len(value) > maxHeader {
		return ""
	}
	return value
}
