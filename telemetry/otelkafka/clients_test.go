package otelkafka

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/IBM/sarama/mocks"
)

func TestProducersThatCannotBeMade(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	var client *mockClient
	_, noClient := NewSyncProducerFromClient(client, inst)
	_, noClientAsync := NewAsyncProducerFromClient(nil, inst)
	_, noInst := NewSyncProducer([]string{"127.0.0.1:1"}, nil, nil)
	_, noInstAsync := NewAsyncProducer([]string{"127.0.0.1:1"}, nil, nil)
	for want, err := range map[string]error{
		"make a synchronous producer: the client is nil":            noClient,
		"make an asynchronous producer: the client is nil":          noClientAsync,
		"make a synchronous producer: the instrumentation is nil":   noInst,
		"make an asynchronous producer: the instrumentation is nil": noInstAsync,
	} {
		if err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	_, err := NewSyncProducer(nil, nil, inst)
	_, errAsync := NewAsyncProducer(nil, nil, inst)
	if err == nil || errAsync == nil {
		t.Errorf("without brokers: %v, %v", err, errAsync)
	}
}

type mockClient struct{ sarama.Client }

// A protocol without headers costs a record its context, and nothing else.
func TestASyncProducerOfAnOldProtocolSendsWithoutHeaders(t *testing.T) {
	r, inst := newInstrumentation(t, Options{})
	config := sarama.NewConfig()
	config.Version = sarama.V0_10_2_0
	fake := mocks.NewSyncProducer(t, nil)
	fake.ExpectSendMessageAndSucceed()
	fake.ExpectSendMessageAndFail(sarama.ErrNotEnoughReplicas)
	p, err := newSync(config, inst, func() (sarama.SyncProducer, error) { return fake, nil })
	if err != nil {
		t.Fatal(err)
	}
	msg := &sarama.ProducerMessage{Topic: "out"}
	if _, _, err := p.SendMessage(msg); err != nil || len(msg.Headers) != 0 {
		t.Errorf("error %v, headers %v", err, msg.Headers)
	}
	if err := p.SendMessages([]*sarama.ProducerMessage{msg}); !errors.Is(err, sarama.ErrNotEnoughReplicas) || len(msg.Headers) != 0 {
		t.Errorf("error %v, headers %v", err, msg.Headers)
	}
	if len(r.Spans()) != 2 || !strings.Contains(fmt.Sprint(r.Logs()), "no headers") {
		t.Errorf("%d spans, log %s", len(r.Spans()), r.Logs())
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// Marks move the lag as they move sarama's offsets, and a record in hand dates what is left.
func TestPositions(t *testing.T) {
	l := newLagTest(t)
	p := &positions{lag: l.Lag, parts: make(map[TopicPartition]*position)}
	session := &trackedSession{ConsumerGroupSession: &stubSession{ctx: t.Context()}, positions: p}
	session.topic, session.claimed = "t", p.begin("t", 0, 10)
	at := func(offset int64) *sarama.ConsumerMessage {
		return &sarama.ConsumerMessage{Topic: "t", Offset: offset, Timestamp: l.clock.Add(-time.Minute)}
	}
	l.seen(0, 20)
	l.page("assigned", 10, 0)
	session.take(at(12))
	l.page("10 and 11 are no records; the one at 12 is a minute old", 8, 60)
	session.take(at(13))
	l.page("a second one is not the oldest", 8, 60)
	session.MarkMessage(at(13), "")
	l.page("both are done", 6, 0)
	session.MarkMessage(at(12), "")
	l.page("a late mark of an earlier record", 6, 0)
	session.MarkOffset("t", 0, 20, "")
	l.page("all done", 0, 0)
	session.ResetOffset("t", 0, 18, "")
	l.page("set back", 2, 0)
	session.MarkOffset("other", 0, 5, "")
	session.ResetOffset("other", 0, 1, "")
	session.take(&sarama.ConsumerMessage{Topic: "other"})
	l.page("what is another's changes nothing", 2, 0)
	p.end("t", 0)
	l.page("revoked", -1, -1)
}

// A handler of the user's own sees sarama's claim as it is, so that what it collects without waiting stays as large, and what
// it marks in the session that Setup was given counts.
func TestAGroupLeavesAHandlerAlone(t *testing.T) {
	l := newLagTest(t)
	r, inst := newInstrumentation(t, Options{})
	rebalances, err := NewRebalances(inst)
	if err != nil {
		t.Fatal(err)
	}
	group := &ConsumerGroup{rebalances: rebalances, positions: &positions{lag: l.Lag, parts: make(map[TopicPartition]*position)}}
	own := &drainer{}
	h := memberHandler{own, group}
	session, claim := claimOf(t, 2560, true)
	if err := h.Setup(session); err != nil {
		t.Fatal(err)
	}
	if err := h.ConsumeClaim(session, claim); err != nil {
		t.Fatal(err)
	}
	if own.batches != 10 {
		t.Errorf("%d batches, want 10 of 256", own.batches)
	}
	if own.seen != 2560 {
		t.Errorf("the marks have moved the lag to %d, want 2560", own.seen)
	}
	if err := h.Cleanup(session); err != nil {
		t.Fatal(err)
	}
	r.CheckCatalogue()
}

// drainer takes what is there, up to 256 records, and marks it in the session of Setup.
type drainer struct {
	session sarama.ConsumerGroupSession
	batches int
	seen    int64
}

func (h *drainer) Setup(session sarama.ConsumerGroupSession) error { h.session = session; return nil }
func (*drainer) Cleanup(sarama.ConsumerGroupSession) error         { return nil }

func (h *drainer) ConsumeClaim(_ sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for msg := range claim.Messages() {
		last := msg
		for n := 1; n < 256 && len(claim.Messages()) > 0; n++ {
			last = <-claim.Messages()
		}
		h.batches++
		h.session.MarkMessage(last, "")
		tracked, _ := h.session.(*trackedSession)
		h.seen = tracked.positions.parts[TopicPartition{"in", 2}].next
	}
	return nil
}
