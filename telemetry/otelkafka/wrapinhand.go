package otelkafka

import (
	"context"
	"sync"

	"github.com/IBM/sarama"
)

// watchedSession sees what the handler marks.
type watchedSession struct {
	sarama.ConsumerGroupSession
	watch *inHand
}

// MarkMessage implements [sarama.ConsumerGroupSession].
func (s *watchedSession) MarkMessage(msg *sarama.ConsumerMessage, metadata string) {
	s.watch.marked(msg.Topic, msg.Partition, msg.Offset+1)
	s.ConsumerGroupSession.MarkMessage(msg, metadata)
}

// MarkOffset implements [sarama.ConsumerGroupSession].
func (s *watchedSession) MarkOffset(topic string, partition int32, offset int64, metadata string) {
	s.watch.marked(topic, partition, offset)
	s.ConsumerGroupSession.MarkOffset(topic, partition, offset, metadata)
}

// inHand follows the one record of a claim that the handler has in hand.
type inHand struct {
	inst      *Instrumentation
	session   context.Context //nolint:containedctx // the session's
	topic     string
	partition int32

	mu      sync.Mutex
	settled sync.Cond               // signalled when offered is no longer open
	offered *sarama.ConsumerMessage // on its way to the handler, which may have it already
	next    int64                   // all offsets below are marked
	current *sarama.ConsumerMessage
	ctx     context.Context //nolint:containedctx // current's
	span    *ProcessSpan    // current's
}

func newInHand(i *Instrumentation, session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) *inHand {
	w := &inHand{inst: i, session: session.Context(), topic: claim.Topic(), partition: claim.Partition()}
	w.settled.L = &w.mu
	return w
}

// offer says which record waits to be received; nil withdraws it.
func (w *inHand) offer(msg *sarama.ConsumerMessage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offered = msg
	w.settled.Broadcast()
}

// received ends the span of the record before, and starts this one's.
func (w *inHand) received(msg *sarama.ConsumerMessage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end(nil)
	w.current = msg
	w.ctx, w.span = w.inst.StartProcess(w.session, msg)
	w.offered = nil
	if msg.Offset < w.next { // the handler has been faster
		w.end(nil)
	}
	w.settled.Broadcast()
}

// marked ends the span of the record in hand if its offset is below next.
func (w *inHand) marked(topic string, partition int32, next int64) {
	if topic != w.topic || partition != w.partition {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = max(w.next, next)
	if w.current != nil && w.current.Offset < next {
		w.end(nil)
	}
}

// endLast ends the span of a record that was in hand when the handler returned. Without an error it counts, as the
// one before a next record does.
func (w *inHand) endLast(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end(err)
}

// end ends the current span, if there is one. The lock is held.
func (w *inHand) end(err error) {
	if w.current == nil {
		return
	}
	w.span.End(err)
	if err == nil {
		w.inst.Consumed(w.ctx, w.topic, 1)
	}
	w.current, w.ctx, w.span = nil, nil, nil
}

func (w *inHand) contextOf(msg *sarama.ConsumerMessage) context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	for msg != nil && w.offered == msg { // received, for the caller has it; its span is about to start
		w.settled.Wait()
	}
	if w.current == msg && msg != nil {
		return w.ctx
	}
	return w.session
}
