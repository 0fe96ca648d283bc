package otelkafka

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry"
)

// A batch is one span, a root, with a link to each record's sender; the handler gets what is there, in order.
func TestBatchHandlerLinks(t *testing.T) {
	r, inst := newInstrumentation(t, Options{Consumes: []string{"in"}, ConsumerGroup: "g"})
	session, claim := claimOf(t, 0, false)
	claim.messages = make(chan *sarama.ConsumerMessage, 5)
	var senders []trace.SpanID
	for offset := range int64(4) {
		msg := &sarama.ProducerMessage{Topic: "in"}
		_, send := inst.StartSend(t.Context(), msg)
		senders = append(senders, send.SpanContext().SpanID())
		in := received(msg)
		in.Offset = offset
		claim.messages <- in
	}
	claim.messages <- &sarama.ConsumerMessage{Topic: "in", Partition: 2, Offset: 4} // without a context
	close(claim.messages)
	var sizes []int
	h := NewBatchHandler(inst, 3, func(ctx context.Context, _ sarama.ConsumerGroupSession, batch []*sarama.ConsumerMessage) error {
		sizes = append(sizes, len(batch))
		_, span := inst.tracer.Start(ctx, "store")
		span.End()
		return nil
	})
	if err := h.ConsumeClaim(session, claim); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(sizes, []int{3, 2}) || !slices.Equal(session.marked, []int64{3, 5}) {
		t.Errorf("batches of %v marked %v, want 3 and 2, marked 3 and 5", sizes, session.marked)
	}
	if got := r.Metric(telemetry.KafkaMessagesConsumedTotal, nil); got != 5 {
		t.Errorf("consumed %v, want 5", got)
	}
	spans := r.Spans()
	for n, want := range [][]trace.SpanID{senders[:3], senders[3:]} {
		store, batch := spans[2*n], spans[2*n+1]
		var links []trace.SpanID
		for _, link := range batch.Links {
			links = append(links, link.SpanContext.SpanID())
		}
		if batch.Name != "process in" || batch.SpanKind != trace.SpanKindConsumer || batch.Parent.IsValid() || !slices.Equal(links, want) {
			t.Errorf("batch %d: span %q of kind %v with links to %v, want %v", n, batch.Name, batch.SpanKind, links, want)
		}
		if store.Parent.SpanID() != batch.SpanContext.SpanID() {
			t.Errorf("batch %d: the handler's span is not in the batch's", n)
		}
		wantAttributes(t, batch, attribute.Int("messaging.batch.message_count", sizes[n]),
			attribute.String("messaging.consumer.group.name", "g"))
	}
}

func TestBatchHandlerFails(t *testing.T) {
	r, inst := newInstrumentation(t, Options{Consumes: []string{"in"}})
	session, claim := claimOf(t, 10, true)
	h := NewBatchHandler(inst, 4, func(_ context.Context, _ sarama.ConsumerGroupSession, batch []*sarama.ConsumerMessage) error {
		if batch[0].Offset > 0 {
			return errHandle
		}
		return nil
	})
	if err := h.ConsumeClaim(session, claim); !errors.Is(err, errHandle) {
		t.Errorf("error %v", err)
	}
	if spans := r.Spans(); len(spans) != 2 || spans[1].Status.Code != codes.Error || spans[1].Status.Description != "reject" {
		t.Errorf("%d spans, want the second to fail", len(spans))
	}
	if got := r.Metric(telemetry.KafkaMessagesConsumedTotal, nil); got != 4 || !slices.Equal(session.marked, []int64{4}) {
		t.Errorf("consumed %v and marked %v, want 4", got, session.marked)
	}
}

// Records of a batch that are handled concurrently each have a span of their own time, in their own trace.
func TestRecordsHandledConcurrently(t *testing.T) {
	const short, long = 20 * time.Millisecond, 120 * time.Millisecond
	var took [8]time.Duration
	r, inst := newInstrumentation(t, Options{Consumes: []string{"in"}})
	session, claim := claimOf(t, 8, true)
	h := NewBatchHandler(inst, 8, func(ctx context.Context, _ sarama.ConsumerGroupSession, batch []*sarama.ConsumerMessage) error {
		var working sync.WaitGroup
		for _, msg := range batch {
			working.Go(func() {
				_, span := inst.StartProcess(ctx, msg)
				start := time.Now()
				if msg.Offset%2 == 0 {
					<-time.After(short)
				} else {
					<-time.After(long)
				}
				took[msg.Offset] = time.Since(start)
				span.End(nil)
			})
		}
		working.Wait()
		return nil
	})
	if err := h.ConsumeClaim(session, claim); err != nil {
		t.Fatal(err)
	}
	timed := 0
	for _, span := range r.Spans()[:8] {
		offset := int64(-1)
		for _, a := range span.Attributes {
			if a.Key == "messaging.kafka.offset" {
				offset = a.Value.AsInt64()
			}
		}
		if lasted := span.EndTime.Sub(span.StartTime); offset < 0 || lasted < took[offset] || lasted > took[offset]+short {
			t.Errorf("the span of record %d lasts %v, its handling took %v", offset, lasted, took)
		}
		timed++
	}
	if got := r.Metric(telemetry.KafkaMessageProcessingDuration, nil); got != 8 || timed != 8 {
		t.Errorf("%v records timed, want 8", got)
	}
}
