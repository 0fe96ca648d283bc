package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/fault"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

// grace is how long a batch may go on after its session has ended.
const grace = 5 * time.Second

// worker processes one assigned partition, batch by batch. While a stored
// batch's messages are on their way to Kafka, the next batch is decided; it is
// stored once they have arrived.
type worker[State, Change any] struct {
	loop      *Loop[State, Change]
	partition record.Partition
	next      int64            // the first offset that storage does not contain
	commit    func(next int64) // has the group's offset follow
	flight    *flight          // the stored batch that is being published, if any
	// published is the last offset of a batch whose messages Kafka has and the
	// outbox still holds, or -1. The next batch's transaction takes them out;
	// where no batch is at hand, one of their own does.
	published int64
}

// run publishes what an earlier owner left behind and then processes batches
// until the session ends.
func (w *worker[State, Change]) run(session context.Context, messages <-chan *sarama.ConsumerMessage) error {
	if err := w.publishLeftovers(session); err != nil {
		return stopped(err)
	}
	err := w.batches(session, &batcher{messages: messages, limit: w.loop.cfg.BatchSize})
	return stopped(errors.Join(err, w.land(nil)))
}

// batches processes batches until the session ends.
func (w *worker[State, Change]) batches(session context.Context, source *batcher) error {
	for {
		batch := source.atHand(session)
		if batch == nil && w.flight != nil {
			if err := w.land(nil); err != nil {
				return err
			}
			continue // records may have come in the meantime
		}
		if batch == nil {
			if err := w.mark(session); err != nil {
				return err
			}
			if batch = source.next(session); batch == nil {
				return nil
			}
		}
		if err := w.process(session, batch); err != nil {
			return err
		}
	}
}

// process decides and stores one batch and sends its messages on their way. On
// an error the batch is either untouched or stored with its outbox for the
// partition's next owner.
func (w *worker[State, Change]) process(session context.Context, batch []*sarama.ConsumerMessage) error {
	ctx, cancel := withGrace(session)
	defer cancel()
	l := w.loop
	if w.flight == nil {
		l.deps.Lag.Advance(w.partition.Topic, w.partition.ID, batch[0].Offset, batch[0].Timestamp)
	}
	decisions, err := w.decide(ctx, session, batch)
	if err != nil {
		return err
	}
	if err := w.land(batch[0]); err != nil {
		return err
	}
	last, outgoing := batch[len(batch)-1].Offset, messages(decisions)
	l.deps.Fault.At(fault.BeforeStore)
	if err := w.store(ctx, session, decisions, outgoing, last+1); err != nil {
		return err
	}
	if w.published >= 0 { // the batch before left the outbox with it
		l.deps.Fault.At(fault.AfterMark)
	}
	w.next, w.published = last+1, -1
	l.deps.Fault.At(fault.AfterStore)
	l.report(ctx, w.partition, decisions)
	w.launch(session, decisions, outgoing)
	return nil
}

// store commits the batch: changes, outgoing messages and position together.
func (w *worker[State, Change]) store(
	ctx, session context.Context, decisions []decision[Change], outgoing []record.Message, next int64,
) (err error) {
	l := w.loop
	ctx, span := l.deps.Instrument.StartBatch(ctx, "store "+w.partition.Topic, spansOf(decisions))
	defer func() { span.End(err) }()
	applied := changes(decisions)
	return l.retry(session, "store batch", func() error {
		return l.deps.Store.Update(ctx, func(tx *storage.Tx) error {
			if err := tx.Advance(ctx, w.partition, w.next, next); err != nil {
				return err
			}
			if w.published >= 0 {
				if err := tx.MarkPublished(ctx, w.partition, w.published); err != nil {
					return err
				}
			}
			if err := tx.Enqueue(ctx, w.partition, next-1, outgoing); err != nil {
				return err
			}
			if len(applied) == 0 {
				return nil
			}
			return l.handler.Store(ctx, tx, applied)
		})
	})
}

// stopped hides the end of the session: that is how a worker is told to stop,
// not a fault of its own.
func stopped(err error) error {
	if errors.Is(err, errSessionOver) {
		return nil
	}
	return err
}
