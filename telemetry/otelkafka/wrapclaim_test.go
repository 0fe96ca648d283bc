package otelkafka

import (
	"context"
	"sync"
	"testing"

	"github.com/IBM/sarama"
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
