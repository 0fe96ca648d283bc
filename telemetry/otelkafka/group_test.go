package otelkafka

import (
	"context"
	"sync"
	"testing"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/internal/leaks"
)

// Under load, 1,000 claim exits with records still buffered leave no goroutine, and as many spans end as started.
func TestClaimExitsLeaveNothing(t *testing.T) {
	const exits = 1000
	for name := range ways(nil, nil) {
		t.Run(name, func(t *testing.T) {
			leaks.None(t)
			r, inst := newInstrumentation(t, Options{Consumes: []string{"in"}})
			h := ways(inst, func(_ context.Context, _ sarama.ConsumerGroupSession, msg *sarama.ConsumerMessage) error {
				if msg.Offset == 2 {
					return errHandle
				}
				return nil
			})[name]
			claims := make(chan struct{}, exits)
			for range exits {
				claims <- struct{}{}
			}
			close(claims)
			var working sync.WaitGroup
			for range 16 {
				working.Go(func() {
					for range claims {
						session, claim := claimOf(t, 20, false)
						if err := h.ConsumeClaim(session, claim); err == nil {
							t.Error("a claim ends without its error")
						}
					}
				})
			}
			working.Wait()
			if got := len(r.Spans()); got != 3*exits {
				t.Errorf("%d spans ended, want %d", got, 3*exits)
			}
			if got := r.Metric(catalogue.KafkaMessageProcessingDuration, nil); got != 3*exits {
				t.Errorf("%v records timed, want %d", got, 3*exits)
			}
			if got := r.Metric(catalogue.KafkaMessagesConsumedTotal, nil); got != 2*exits {
				t.Errorf("consumed %v, want %d", got, 2*exits)
			}
		})
	}
}

// wrapped runs one wrapped handler over a claim of n records.
func wrapped(
	t *testing.T, inst *Instrumentation, n int, consume func(sarama.ConsumerGroupSession, sarama.ConsumerGroupClaim) error,
) error {
	t.Helper()
	leaks.None(t)
	session, claim := claimOf(t, n, true)
	return WrapConsumerGroupHandler(loopHandler{consume}, inst).ConsumeClaim(session, claim)
}

// A loop that marks nothing has each span end when the next record is received.
func TestWrappedLoopThatMarksNothing(t *testing.T) {
	r, inst := newInstrumentation(t, Options{Consumes: []string{"in"}})
	err := wrapped(t, inst, 5, func(_ sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
		for range claim.Messages() { // handling nothing
		}
		return nil
	})
	if got := r.Metric(catalogue.KafkaMessagesConsumedTotal, nil); err != nil || got != 5 || len(r.Spans()) != 5 {
		t.Errorf("%v: consumed %v with %d spans, want 5", err, got, len(r.Spans()))
	}
}

// Marks of other partitions, of offsets, and marks that come before the wrapper has seen the record arrive.
func TestWrappedLoopThatMarksOffsets(t *testing.T) {
	r, inst := newInstrumentation(t, Options{Consumes: []string{"in"}})
	err := wrapped(t, inst, 50, func(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
		for msg := range claim.Messages() {
			ctx := ContextOf(session, msg)
			if !trace.SpanContextFromContext(ctx).IsValid() {
				t.Error("no span of the record in progress")
			}
			session.MarkOffset("in", 1, msg.Offset+1, "")
			session.MarkOffset("other", 2, msg.Offset+1, "")
			if !trace.SpanContextFromContext(ContextOf(session, msg)).Equal(trace.SpanContextFromContext(ctx)) {
				t.Error("a mark of another partition ends the span")
			}
			session.MarkOffset("in", 2, msg.Offset+1, "")
			if trace.SpanContextFromContext(ContextOf(session, msg)).IsValid() {
				t.Error("the span goes on after the mark")
			}
		}
		return nil
	})
	if got := r.Metric(catalogue.KafkaMessagesConsumedTotal, nil); err != nil || got != 50 || len(r.Spans()) != 50 {
		t.Errorf("%v: consumed %v with %d spans, want 50", err, got, len(r.Spans()))
	}
}

// Marking is quicker than the goroutine that sees the record arrive.
func TestWrappedLoopThatIsFaster(t *testing.T) {
	r, inst := newInstrumentation(t, Options{Consumes: []string{"in"}})
	h := newInProgress(inst, &stubSession{ctx: t.Context()}, &stubClaim{})
	msg := &sarama.ConsumerMessage{Topic: "in", Partition: 2, Offset: 7}
	h.offer(msg)
	h.mark("in", 2, 8)
	h.receive(msg)
	if got := r.Metric(catalogue.KafkaMessagesConsumedTotal, nil); got != 1 || len(r.Spans()) != 1 {
		t.Errorf("consumed %v with %d spans, want 1", got, len(r.Spans()))
	}
}

// A wrapped handler that uses Records, or never looks at its claim, has no goroutine and no second span.
func TestWrappedHandlerThatUsesRecords(t *testing.T) {
	r, inst := newInstrumentation(t, Options{Consumes: []string{"in"}})
	err := wrapped(t, inst, 5, func(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
		for record := range inst.Records(session, claim) {
			session.MarkMessage(record.ConsumerMessage, "")
		}
		return nil
	})
	if got := r.Metric(catalogue.KafkaMessagesConsumedTotal, nil); err != nil || got != 5 || len(r.Spans()) != 5 {
		t.Errorf("%v: consumed %v with %d spans, want 5", err, got, len(r.Spans()))
	}
	if err := wrapped(t, inst, 1, func(sarama.ConsumerGroupSession, sarama.ConsumerGroupClaim) error { return nil }); err != nil {
		t.Error(err)
	}
}

// A record nobody offers has the session's context, in any session.
func TestContextOfAnotherRecord(t *testing.T) {
	session := &stubSession{ctx: t.Context()}
	if ContextOf(session, nil) != session.ctx {
		t.Error("not the session's context")
	}
}
