package otelkafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

// processed makes the spans of n records, each in a trace of its own.
func processed(t *testing.T, inst *Instrumentation, n int) []trace.SpanContext {
	t.Helper()
	all := make([]trace.SpanContext, n)
	for i := range all {
		_, process := inst.StartProcess(t.Context(), &sarama.ConsumerMessage{Topic: "in"})
		process.End(nil)
		all[i] = process.SpanContext()
	}
	return all
}

// named returns the ended spans of a name.
func named(spans tracetest.SpanStubs, name string) (found tracetest.SpanStubs) {
	for _, s := range spans {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found
}

// A batch's span links its records, and each record's trace has a span of the same name, time and status.
func TestBatchHasASpanInItsRecordsTraces(t *testing.T) {
	for name, failure := range map[string]error{"success": nil, "failure": fmt.Errorf("store: %w", classed{})} {
		t.Run(name, func(t *testing.T) {
			r, inst := newInstrumentation(t, Options{})
			records := processed(t, inst, 3)
			_, span := inst.StartBatch(t.Context(), "store", append(records, trace.SpanContext{}), attribute.String("k", "v"))
			span.End(failure)
			all := named(r.Spans(), "store")
			if len(all) != 4 {
				t.Fatalf("%d spans, want the batch's and three records'", len(all))
			}
			batch, echoes := all[0], all[1:]
			if batch.SpanKind != trace.SpanKindInternal || batch.Parent.IsValid() || len(batch.Links) != 3 ||
				batch.SpanContext.SpanID() != span.SpanContext().SpanID() {
				t.Errorf("the batch's span %+v: want a root with three links", batch)
			}
			wantAttributes(t, batch, attribute.String("k", "v"), attribute.Int("messaging.batch.message_count", 4))
			for i, echo := range echoes {
				if batch.Links[i].SpanContext.SpanID() != records[i].SpanID() {
					t.Errorf("link %d goes to %v", i, batch.Links[i].SpanContext)
				}
				if echo.Parent.SpanID() != records[i].SpanID() || echo.SpanContext.TraceID() != records[i].TraceID() || echo.SpanKind != trace.SpanKindInternal {
					t.Errorf("record %d: span %+v is no child of its process span", i, echo)
				}
				if len(echo.Links) != 1 || echo.Links[0].SpanContext.SpanID() != batch.SpanContext.SpanID() {
					t.Errorf("record %d: links %v, want one to the batch", i, echo.Links)
				}
				if !echo.StartTime.Equal(batch.StartTime) || !echo.EndTime.Equal(batch.EndTime) || echo.EndTime.Before(echo.StartTime) {
					t.Errorf("record %d: from %v to %v, the batch from %v to %v", i, echo.StartTime, echo.EndTime, batch.StartTime, batch.EndTime)
				}
				if echo.Status != batch.Status || (echo.Status.Code == codes.Error) != (failure != nil) {
					t.Errorf("record %d: status %+v, the batch's is %+v", i, echo.Status, batch.Status)
				}
				wantAttributes(t, echo, attribute.String("k", "v"))
			}
		})
	}
}

// unsampled are n contexts of traces that nobody keeps.
func unsampled(n int) (all []trace.SpanContext) {
	for i := range n {
		all = append(all, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1, byte(i >> 8), byte(i)}, SpanID: trace.SpanID{1, byte(i >> 8), byte(i)},
		}))
	}
	return all
}

// A batch is kept if one of its records is, wherever that record stands among hundreds, and has a span in that one's trace alone.
func TestBatchFollowsItsRecords(t *testing.T) {
	kept := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{2}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	for _, sampler := range []string{"", "parentbased_always_off", "parentbased_traceidratio"} {
		for name, test := range map[string]struct {
			records []trace.SpanContext
			echoes  int
			sampled bool
		}{
			"one first":  {append([]trace.SpanContext{kept}, unsampled(499)...), 1, true},
			"one last":   {append(unsampled(499), kept), 1, true},
			"none":       {unsampled(500), 0, false},
			"none valid": {make([]trace.SpanContext, 2), 0, sampler == ""},
		} {
			t.Run(sampler+" "+name, func(t *testing.T) {
				if sampler != "" {
					t.Setenv("OTEL_TRACES_SAMPLER", sampler)
					t.Setenv("OTEL_TRACES_SAMPLER_ARG", "0")
				}
				r, inst := newInstrumentation(t, Options{})
				_, span := inst.StartBatch(t.Context(), "store", test.records)
				span.End(nil)
				all := r.Spans()
				if span.SpanContext().IsSampled() != test.sampled {
					t.Fatalf("sampled: %v, want %v", span.SpanContext().IsSampled(), test.sampled)
				}
				if !test.sampled {
					if len(all) != 0 {
						t.Errorf("%d spans of a batch that is not sampled", len(all))
					}
					return
				}
				if len(all) != 1+test.echoes || len(all[0].Links) != test.echoes {
					t.Fatalf("%d spans, the first with %d links, want %d records' spans", len(all), len(all[0].Links), test.echoes)
				}
				if test.echoes == 1 && all[1].Parent.SpanID() != kept.SpanID() {
					t.Errorf("the span is in %v", all[1].Parent)
				}
			})
		}
	}
}

// Where nothing is recorded, a batch's span carries its context and makes no others.
func TestBatchThatNobodyReads(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	r, inst := newInstrumentation(t, Options{})
	records := processed(t, inst, 2)
	_, span := inst.StartBatch(t.Context(), "store", records)
	span.End(nil)
	if !span.SpanContext().IsValid() || span.SpanContext().IsSampled() || len(r.Spans()) != 0 {
		t.Errorf("context %+v, %d spans", span.SpanContext(), len(r.Spans()))
	}
}

// A batch in a caller's span is that span's child, decided as it is.
func TestBatchInASpanIsItsChild(t *testing.T) {
	r, inst := newInstrumentation(t, Options{})
	ctx, outer := inst.tracer.Start(t.Context(), "request")
	_, span := inst.StartBatch(ctx, "store", unsampled(2))
	span.End(nil)
	outer.End()
	if got := r.Span("store"); got.Parent.SpanID() != outer.SpanContext().SpanID() {
		t.Errorf("parent %v", got.Parent)
	}
}

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
	if got := r.Metric(catalogue.KafkaMessagesConsumedTotal, nil); got != 5 {
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
	if got := r.Metric(catalogue.KafkaMessagesConsumedTotal, nil); got != 4 || !slices.Equal(session.marked, []int64{4}) {
		t.Errorf("consumed %v and marked %v, want 4", got, session.marked)
	}
}

// Records of a batch that are handled concurrently each have a span of their own time, in their own trace.
func TestRecordsHandledConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, inst := newInstrumentation(t, Options{Consumes: []string{"in"}})
		session, claim := claimOf(t, 8, true)
		h := NewBatchHandler(inst, 8, func(ctx context.Context, _ sarama.ConsumerGroupSession, batch []*sarama.ConsumerMessage) error {
			var working sync.WaitGroup
			for _, msg := range batch {
				working.Go(func() {
					_, span := inst.StartProcess(ctx, msg)
					<-time.After(time.Duration(msg.Offset) * time.Second)
					span.End(nil)
				})
			}
			working.Wait()
			return nil
		})
		if err := h.ConsumeClaim(session, claim); err != nil {
			t.Fatal(err)
		}
		spans := r.Spans()
		if len(spans) != 9 {
			t.Fatalf("%d spans, want the records' and the batch's", len(spans))
		}
		traces := make(map[trace.TraceID]bool)
		for offset, span := range spans[:8] {
			if lasted := span.EndTime.Sub(span.StartTime); lasted != time.Duration(offset)*time.Second {
				t.Errorf("the span of record %d lasts %v", offset, lasted)
			}
			wantAttributes(t, span, attribute.Int("messaging.kafka.offset", offset))
			traces[span.SpanContext.TraceID()] = true
		}
		if got := r.Metric(catalogue.KafkaMessageProcessingDuration, nil); got != 8 || len(traces) != 8 {
			t.Errorf("%v records timed in %d traces, want 8", got, len(traces))
		}
	})
}
