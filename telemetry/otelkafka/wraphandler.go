package otelkafka

import (
	"context"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/trace"
)

// Handle handles one record of a consumer group. ctx is the session's context with the record's process span.
type Handle func(ctx context.Context, session sarama.ConsumerGroupSession, msg *sarama.ConsumerMessage) error

// NewHandler returns a consumer group's handler that calls handle for each record, one after the other in each
// partition, with a process span around each call: the span covers that record's handling and nothing else.
//
// A record whose handle returns nil is marked and counted as consumed. An error fails the span and ends the claim
// with that error, the record unmarked: sarama reports it and begins a new session, which reads the record again.
// A handler that wants to pass over a record it cannot handle returns nil, after it has set the record aside and
// called [Fail].
//
// handle runs in the goroutine that sarama gives to the claim; none is started. When the session ends, records
// that sarama had fetched ahead are left to the partition's next owner.
func NewHandler(i *Instrumentation, handle Handle, options ...HandlerOption) sarama.ConsumerGroupHandler {
	return &recordHandler{handlerOptions: handlerOptionsOf(options), inst: i, handle: handle}
}

type recordHandler struct {
	handlerOptions
	inst   *Instrumentation
	handle Handle
}

// ConsumeClaim implements [sarama.ConsumerGroupHandler].
func (h *recordHandler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for record := range h.inst.Records(session, claim) {
		if err := h.handle(record.Context(), session, record.ConsumerMessage); err != nil {
			record.Fail(err)
			return err
		}
		session.MarkMessage(record.ConsumerMessage, "")
	}
	return nil
}

// Fail marks the span in ctx as failed, with the kind of err and not its text, for a handler that has dealt with
// the failure itself and goes on.
func Fail(ctx context.Context, err error) { fail(trace.SpanFromContext(ctx), err) }
