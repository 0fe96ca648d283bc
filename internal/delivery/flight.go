package delivery

import (
	"context"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/fault"
	"github.com/vigie-dev/vigie/internal/record"
)

// flight is a stored batch whose messages are on their way to Kafka.
type flight struct {
	next     int64 // the first offset after the batch
	messages bool  // whether it has any
	done     chan error
}

// launch sends the messages of the batch that was just stored on their way.
// [worker.land] has to follow.
func (w *worker[State, Change]) launch(session context.Context, decisions []decision[Change], outgoing []record.Message) {
	f := &flight{next: w.next, messages: len(outgoing) > 0, done: make(chan error, 1)}
	w.flight = f
	if !f.messages {
		f.done <- nil
		return
	}
	go func() {
		ctx, cancel := withGrace(session)
		defer cancel()
		f.done <- w.publish(ctx, session, outgoing, publishers(decisions))
	}()
}

// land waits until Kafka has the stored batch's messages, and has the group's
// offset follow. first is the first record after the batch, where it is known.
func (w *worker[State, Change]) land(first *sarama.ConsumerMessage) error {
	f := w.flight
	if f == nil {
		return nil
	}
	w.flight = nil
	if err := <-f.done; err != nil {
		return err
	}
	if f.messages {
		w.arrived(f.next - 1)
	}
	w.loop.deps.Fault.At(fault.BeforeCommit)
	w.commit(f.next)
	// The offset of a record in hand leaves out what lies before it and is no
	// record: markers, and what compaction took.
	next, since := f.next, time.Time{}
	if first != nil {
		next, since = first.Offset, first.Timestamp
	}
	w.loop.deps.Lag.Advance(w.partition.Topic, w.partition.ID, next, since)
	return nil
}
