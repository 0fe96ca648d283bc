package otelkafka

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/internal/leaks"
)

// stubSession is a consumer group's session that remembers what was marked.
type stubSession struct {
	sarama.ConsumerGroupSession
	ctx    context.Context //nolint:containedctx // the session's
	mu     sync.Mutex
	marked []int64
}

func (s *stubSession) Context() context.Context { return s.ctx }

func (s *stubSession) MarkOffset(_ string, _ int32, offset int64, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marked = append(s.marked, offset)
}

func (*stubSession) GenerationID() int32 { return 1 }

func (*stubSession) Claims() map[string][]int32 { return map[string][]int32{"in": {2}} }

func (*stubSession) ResetOffset(string, int32, int64, string) {}

func (s *stubSession) MarkMessage(msg *sarama.ConsumerMessage, metadata string) {
	s.MarkOffset(msg.Topic, msg.Partition, msg.Offset+1, metadata)
}

// stubClaim is a claim of partition 2 of the topic "in", as sarama makes it: with records fetched ahead.
type stubClaim struct {
	sarama.ConsumerGroupClaim
	messages chan *sarama.ConsumerMessage
}

func (c *stubClaim) Topic() string                            { return "in" }
func (c *stubClaim) Partition() int32                         { return 2 }
func (c *stubClaim) InitialOffset() int64                     { return 0 }
func (c *stubClaim) Messages() <-chan *sarama.ConsumerMessage { return c.messages }

// claimOf returns a session and a claim of n records with offsets from 0 on; the claim is closed if ended.
func claimOf(t testing.TB, n int, ended bool) (*stubSession, *stubClaim) {
	t.Helper()
	c := &stubClaim{messages: make(chan *sarama.ConsumerMessage, n)}
	for offset := range int64(n) {
		c.messages <- &sarama.ConsumerMessage{Topic: "in", Partition: 2, Offset: offset}
	}
	if ended {
		close(c.messages)
	}
	return &stubSession{ctx: t.Context()}, c
}

// loopHandler is a handler as sarama's users write it.
type loopHandler struct {
	consume func(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error
}

func (loopHandler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (loopHandler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h loopHandler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	return h.consume(session, claim)
}

var errHandle = classed{}

// ways are the ways to handle one record after the other. Each marks what it handled.
func ways(inst *Instrumentation, handle Handle) map[string]sarama.ConsumerGroupHandler {
	return map[string]sarama.ConsumerGroupHandler{
		"handler": NewHandler(inst, handle),
		"records": loopHandler{func(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
			for record := range inst.Records(session, claim) {
				if err := handle(record.Context(), session, record.ConsumerMessage); err != nil {
					record.Fail(err)
					return err
				}
				session.MarkMessage(record.ConsumerMessage, "")
			}
			return nil
		}},
	}
}

// Each record's span lasts as long as its handling, and idle time is in none.
func TestSpansCoverTheirOwnRecord(t *testing.T) {
	const work, idle = 30 * time.Millisecond, 100 * time.Millisecond
	for name := range ways(nil, nil) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, inst := newInstrumentation(t, Options{Consumes: []string{"in"}})
				session, claim := claimOf(t, 4, false)
				handled := 0
				h := ways(inst, func(context.Context, sarama.ConsumerGroupSession, *sarama.ConsumerMessage) error {
					<-time.After(work)
					if handled++; handled == 4 {
						time.AfterFunc(idle, func() {
							claim.messages <- &sarama.ConsumerMessage{Topic: "in", Partition: 2, Offset: 4}
							close(claim.messages)
						})
					}
					return nil
				})[name]
				start := time.Now()
				if err := h.ConsumeClaim(session, claim); err != nil {
					t.Fatal(err)
				}
				spans := r.Spans()
				if len(spans) != 5 {
					t.Fatalf("%d spans, want 5", len(spans))
				}
				for n, span := range spans {
					began := start.Add(time.Duration(n) * work)
					if n == 4 {
						began = began.Add(idle)
					}
					if !span.StartTime.Equal(began) || span.EndTime.Sub(span.StartTime) != work {
						t.Errorf("span %d lasts from %v to %v, want %v from %v on", n, span.StartTime, span.EndTime, work, began)
					}
					wantAttributes(t, span, attribute.Int("messaging.kafka.offset", n))
				}
				if got := r.Metric(catalogue.KafkaMessagesConsumedTotal, map[string]string{"topic": "in"}); got != 5 {
					t.Errorf("consumed %v, want 5", got)
				}
				if sum := r.HistogramSum(catalogue.KafkaMessageProcessingDuration, nil); math.Abs(sum-5*work.Seconds()) > 1e-9 {
					t.Errorf("handling took %v s in all, want %v", sum, 5*work.Seconds())
				}
				r.CheckCatalogue()
			})
		})
	}
}

func TestHandlersFail(t *testing.T) {
	for name := range ways(nil, nil) {
		t.Run(name, func(t *testing.T) {
			r, inst := newInstrumentation(t, Options{Consumes: []string{"in"}})
			session, claim := claimOf(t, 10, true)
			h := ways(inst, func(_ context.Context, _ sarama.ConsumerGroupSession, msg *sarama.ConsumerMessage) error {
				if msg.Offset == 3 {
					return errHandle
				}
				return nil
			})[name]
			if err := h.ConsumeClaim(session, claim); !errors.Is(err, errHandle) {
				t.Errorf("error %v", err)
			}
			spans := r.Spans()
			if last := spans[len(spans)-1]; len(spans) != 4 || last.Status.Code != codes.Error || last.Status.Description != "reject" {
				t.Errorf("%d spans, the last with status %+v, want 4 and a failure", len(spans), last.Status)
			}
			if !slices.Equal(session.marked, []int64{1, 2, 3}) {
				t.Errorf("marked %v, want 1 to 3", session.marked)
			}
			if got := r.Metric(catalogue.KafkaMessagesConsumedTotal, nil); got != 3 {
				t.Errorf("consumed %v, want 3", got)
			}
		})
	}
}

// A handler that panics is not left with an open span.
func TestHandlersPanic(t *testing.T) {
	handlers := func(inst *Instrumentation, handle Handle) map[string]sarama.ConsumerGroupHandler {
		all := ways(inst, handle)
		all["batch"] = NewBatchHandler(inst, 5, func(ctx context.Context, session sarama.ConsumerGroupSession, b []*sarama.ConsumerMessage) error {
			return handle(ctx, session, b[0])
		})
		return all
	}
	for name := range handlers(nil, nil) {
		t.Run(name, func(t *testing.T) {
			leaks.None(t)
			r, inst := newInstrumentation(t, Options{Consumes: []string{"in"}})
			session, claim := claimOf(t, 3, false)
			h := handlers(inst, func(context.Context, sarama.ConsumerGroupSession, *sarama.ConsumerMessage) error {
				panic("amount 12.50 of user-7")
			})[name]
			func() {
				defer func() {
					if recover() == nil {
						t.Error("the panic is swallowed")
					}
				}()
				_ = h.ConsumeClaim(session, claim)
			}()
			if span := r.Span("process in"); span.Status.Description != "panic" {
				t.Errorf("status %+v", span.Status)
			}
		})
	}
}

// What the handler sends, logs and starts is in the record's trace, which is the sender's.
func TestHandlersContext(t *testing.T) {
	for name := range ways(nil, nil) {
		t.Run(name, func(t *testing.T) {
			r, inst := newInstrumentation(t, Options{})
			session, claim := claimOf(t, 0, false)
			claim.messages = make(chan *sarama.ConsumerMessage, 2)
			var senders []trace.SpanContext
			for offset := range int64(2) {
				msg := &sarama.ProducerMessage{Topic: "in"}
				_, send := inst.StartSend(t.Context(), msg)
				senders = append(senders, send.SpanContext())
				send.End(2, offset, nil)
				in := received(msg)
				in.Offset = offset
				claim.messages <- in
			}
			close(claim.messages)
			h := ways(inst, func(ctx context.Context, _ sarama.ConsumerGroupSession, msg *sarama.ConsumerMessage) error {
				_, span := inst.tracer.Start(ctx, "work")
				span.SetAttributes(attribute.Int64("of", msg.Offset))
				span.End()
				return nil
			})[name]
			if err := h.ConsumeClaim(session, claim); err != nil {
				t.Fatal(err)
			}
			spans := r.Spans()[len(senders):]
			for n, sender := range senders {
				inner, outer := spans[2*n], spans[2*n+1]
				if inner.Parent.SpanID() != outer.SpanContext.SpanID() || outer.Parent.SpanID() != sender.SpanID() {
					t.Errorf("record %d: %v under %v under %v, want the sender %v", n, inner.Name, outer.Name, outer.Parent, sender)
				}
			}
		})
	}
}

// The loop ends with the session, whatever was fetched ahead.
func TestHandlersEndWithTheSession(t *testing.T) {
	for name := range ways(nil, nil) {
		t.Run(name, func(t *testing.T) {
			r, inst := newInstrumentation(t, Options{})
			session, claim := claimOf(t, 100, false)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			session.ctx = ctx
			h := ways(inst, func(_ context.Context, _ sarama.ConsumerGroupSession, msg *sarama.ConsumerMessage) error {
				if msg.Offset == 4 {
					cancel()
				}
				return nil
			})[name]
			if err := h.ConsumeClaim(session, claim); err != nil {
				t.Fatal(err)
			}
			if len(session.marked) != 5 || len(r.Spans()) > 6 {
				t.Errorf("%d records marked with %d spans after the session's end, want 5", len(session.marked), len(r.Spans()))
			}
		})
	}
}

func TestSetupAndCleanup(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	var called []string
	note := func(name string) func(sarama.ConsumerGroupSession) error {
		return func(sarama.ConsumerGroupSession) error {
			called = append(called, name)
			return errHandle
		}
	}
	h := NewHandler(inst, nil, OnSetup(note("setup")), OnCleanup(note("cleanup")))
	if !errors.Is(h.Setup(nil), errHandle) || !errors.Is(h.Cleanup(nil), errHandle) || !slices.Equal(called, []string{"setup", "cleanup"}) {
		t.Errorf("called %v", called)
	}
	h = NewBatchHandler(inst, 0, nil)
	if h.Setup(nil) != nil || h.Cleanup(nil) != nil {
		t.Error("a handler without Setup and Cleanup fails there")
	}
}

func TestFail(t *testing.T) {
	r, inst := newInstrumentation(t, Options{Consumes: []string{"in"}})
	session, claim := claimOf(t, 1, true)
	h := NewHandler(inst, func(ctx context.Context, _ sarama.ConsumerGroupSession, _ *sarama.ConsumerMessage) error {
		Fail(ctx, errHandle)
		return nil
	})
	if err := h.ConsumeClaim(session, claim); err != nil {
		t.Fatal(err)
	}
	if span := r.Span("process in"); span.Status.Code != codes.Error || len(session.marked) != 1 {
		t.Errorf("status %+v with %v marked, want a failure that is skipped", span.Status, session.marked)
	}
}

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
