package otelkafka

import (
	"context"
	"sync"

	"github.com/IBM/sarama"
)

// WrapConsumerGroupHandler gives process spans to a handler that has its own loop over claim.Messages(), without a
// change to it. Nobody sees when such a loop is done with a record, so a record's span begins when the handler
// receives it and ends when the handler does the first of these:
//
//   - marks it, or a later offset of the partition, in the session that it was given;
//   - receives the next record;
//   - returns from ConsumeClaim: with an error, the span fails, and the record does not count as consumed.
//
// So a handler that takes one record after the other and marks each when it is done gets spans that cover a
// record's handling and nothing else, and [ContextOf] gives it the context of a span. A handler that marks nothing
// has a record's wait for the next one in its span. One that marks first, handles records in other goroutines, or
// collects them, gets spans that say little: it should not be wrapped, but use [NewBatchHandler], or call
// [Instrumentation.StartProcess] where a record is handled.
//
// [NewHandler] and [Instrumentation.Records] know a record's end in every case and cost less: the wrapper hands
// records on through a goroutine. That goroutine ends before ConsumeClaim returns to sarama, whatever is left in
// the claim, and is not started for a handler that uses Records.
func WrapConsumerGroupHandler(h sarama.ConsumerGroupHandler, i *Instrumentation) sarama.ConsumerGroupHandler {
	return &groupHandler{ConsumerGroupHandler: h, inst: i}
}

// ContextOf returns the context of a record's handling: the session's, with the record's process span and baggage.
// session is the one given to a handler of [WrapConsumerGroupHandler]; any other, or a record whose span has ended,
// gives the session's own context.
func ContextOf(session sarama.ConsumerGroupSession, msg *sarama.ConsumerMessage) context.Context {
	if s, ok := session.(*watchedSession); ok {
		return s.watch.contextOf(msg)
	}
	return session.Context()
}

type groupHandler struct {
	sarama.ConsumerGroupHandler
	inst *Instrumentation
}

// ConsumeClaim implements [sarama.ConsumerGroupHandler].
func (h *groupHandler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	w := newInProgress(h.inst, session, claim)
	c := &watchedClaim{
		ConsumerGroupClaim: claim, watch: w, messages: make(chan *sarama.ConsumerMessage), done: make(chan struct{}),
	}
	err := error(errPanicked{})
	defer func() {
		c.stop()
		w.endLast(err)
	}()
	err = h.ConsumerGroupHandler.ConsumeClaim(&watchedSession{ConsumerGroupSession: session, watch: w}, c)
	return err
}

// unwatched returns what a handler of WrapConsumerGroupHandler was given before it was wrapped.
func unwatched(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) (sarama.ConsumerGroupSession, sarama.ConsumerGroupClaim) {
	if s, ok := session.(*watchedSession); ok {
		session = s.ConsumerGroupSession
	}
	if c, ok := claim.(*watchedClaim); ok {
		claim = c.ConsumerGroupClaim
	}
	return session, claim
}

// watchedClaim hands records on one by one, without a buffer: that one was taken is seen when it is.
type watchedClaim struct {
	sarama.ConsumerGroupClaim
	watch    *inProgress
	messages chan *sarama.ConsumerMessage
	begin    sync.Once
	done     chan struct{} // closed when ConsumeClaim has returned
	passing  sync.WaitGroup
}

// Messages implements [sarama.ConsumerGroupClaim].
func (c *watchedClaim) Messages() <-chan *sarama.ConsumerMessage {
	c.begin.Do(func() { c.passing.Go(c.pass) })
	return c.messages
}

func (c *watchedClaim) pass() {
	defer close(c.messages)
	from := c.ConsumerGroupClaim.Messages()
	for {
		select {
		case <-c.done:
			return
		case msg, open := <-from:
			if !open {
				return
			}
			c.watch.offer(msg)
			select {
			case c.messages <- msg:
				c.watch.receive(msg)
			case <-c.done:
				c.watch.offer(nil)
				return
			}
		}
	}
}

// stop ends the goroutine, and keeps a later call of Messages from starting one.
func (c *watchedClaim) stop() {
	c.begin.Do(func() { close(c.messages) })
	close(c.done)
	c.passing.Wait()
}

// watchedSession sees what the handler marks.
type watchedSession struct {
	sarama.ConsumerGroupSession
	watch *inProgress
}

// MarkMessage implements [sarama.ConsumerGroupSession].
func (s *watchedSession) MarkMessage(msg *sarama.ConsumerMessage, metadata string) {
	s.watch.mark(msg.Topic, msg.Partition, msg.Offset+1)
	s.ConsumerGroupSession.MarkMessage(msg, metadata)
}

// MarkOffset implements [sarama.ConsumerGroupSession].
func (s *watchedSession) MarkOffset(topic string, partition int32, offset int64, metadata string) {
	s.watch.mark(topic, partition, offset)
	s.ConsumerGroupSession.MarkOffset(topic, partition, offset, metadata)
}

// inProgress follows the one record of a claim that the handler works on.
type inProgress struct {
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

func newInProgress(i *Instrumentation, session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) *inProgress {
	w := &inProgress{inst: i, session: session.Context(), topic: claim.Topic(), partition: claim.Partition()}
	w.settled.L = &w.mu
	return w
}

// offer says which record waits to be received; nil withdraws it.
func (w *inProgress) offer(msg *sarama.ConsumerMessage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offered = msg
	w.settled.Broadcast()
}

// receive ends the span of the record before, and starts this one's.
func (w *inProgress) receive(msg *sarama.ConsumerMessage) {
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

// mark ends the span of the record in progress if its offset is below next.
func (w *inProgress) mark(topic string, partition int32, next int64) {
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

// endLast ends the span of a record that was in progress when the handler returned. Without an error it counts, as the
// one before a next record does.
func (w *inProgress) endLast(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end(err)
}

// end ends the current span, if there is one. The caller has locked mu.
func (w *inProgress) end(err error) {
	if w.current == nil {
		return
	}
	w.span.End(err)
	if err == nil {
		w.inst.CountConsumed(w.ctx, w.topic, 1)
	}
	w.current, w.ctx, w.span = nil, nil, nil
}

func (w *inProgress) contextOf(msg *sarama.ConsumerMessage) context.Context {
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
