package otelkafka

import (
	"context"
	"slices"

	"github.com/IBM/sarama"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// HandleBatch handles records of one partition, in their order; there is at least one. ctx is the session's context
// with the batch's span. The slice is the handler's to keep.
type HandleBatch func(ctx context.Context, session sarama.ConsumerGroupSession, batch []*sarama.ConsumerMessage) error

// NewBatchHandler returns a consumer group's handler that calls handle for the records that are there, 1 to most of
// them, without waiting for more. Around each call is one span "process <topic>", the root of its own trace, with a
// link to each record's sender that is sampled; it is sampled if one of them is. The SDK keeps 128 links unless told
// otherwise (OTEL_SPAN_LINK_COUNT_LIMIT); the attribute messaging.batch.message_count has the true number.
//
// If handle returns nil, the batch is marked and its records are counted as consumed. An error fails the span and
// ends the claim with that error, the batch unmarked.
//
// The time that each record took is known to handle alone. To measure it, and to give each record a span in its own
// trace, call [Instrumentation.StartProcess] in handle, before and after each record; this works from several
// goroutines too.
func NewBatchHandler(i *Instrumentation, most int, handle HandleBatch, options ...HandlerOption) sarama.ConsumerGroupHandler {
	return &batchHandler{handlerOptions: handlerOptionsOf(options), inst: i, most: max(most, 1), handle: handle}
}

type batchHandler struct {
	handlerOptions
	inst   *Instrumentation
	most   int
	handle HandleBatch
}

// ConsumeClaim implements [sarama.ConsumerGroupHandler].
func (h *batchHandler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	inner, claim := unwatched(session, claim)
	next := newReader(inner, claim)
	for {
		batch := next.batch(h.most)
		if batch == nil {
			return nil
		}
		if err := h.run(session, batch); err != nil {
			return err
		}
	}
}

func (h *batchHandler) run(session sarama.ConsumerGroupSession, batch []*sarama.ConsumerMessage) (err error) {
	ctx, span := h.inst.startProcessBatch(session.Context(), batch)
	defer func() {
		if err != nil {
			fail(span, err)
		}
		span.End()
	}()
	err = errPanicked{} // stays if handle does not return
	if err = h.handle(ctx, session, batch); err != nil {
		return err
	}
	session.MarkMessage(batch[len(batch)-1], "")
	h.inst.Consumed(ctx, batch[0].Topic, int64(len(batch)))
	return nil
}

// startProcessBatch starts the span of records that are handled together.
func (i *Instrumentation) startProcessBatch(
	ctx context.Context, batch []*sarama.ConsumerMessage,
) (context.Context, trace.Span) {
	senders := make([]trace.SpanContext, len(batch))
	for n, msg := range batch {
		senders[n] = trace.SpanContextFromContext(i.Extract(ctx, msg))
	}
	options := i.topics.get(batch[0].Topic)
	how := append(slices.Clip(options.process), trace.WithNewRoot(), trace.WithLinks(linksTo(senders)...))
	ctx, span := i.tracer.Start(ctx, options.processName, how...) //nolint:spancheck // ended by the caller
	span.SetAttributes(options.processAttributes...)
	span.SetAttributes(semconv.MessagingBatchMessageCount(len(batch)))
	return ctx, span //nolint:spancheck // ended by the caller
}

// batch returns the records that are there, most at most, or waits for one; nil at the end.
func (r *reader) batch(most int) []*sarama.ConsumerMessage {
	msg := r.wait()
	if msg == nil {
		return nil
	}
	batch := append(make([]*sarama.ConsumerMessage, 0, min(most, 1+len(r.messages))), msg)
	for len(batch) < most {
		more, ok := r.poll()
		if !ok || more == nil {
			break
		}
		batch = append(batch, more)
	}
	return batch
}
