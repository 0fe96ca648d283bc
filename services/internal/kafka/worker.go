package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/services/internal/fault"
	"github.com/vigie-dev/vigie/services/internal/storage"
)

// grace is how long a batch may go on after its session has ended.
const grace = 5 * time.Second

// worker processes one assigned partition, batch by batch.
type worker[State, Change any] struct {
	loop      *Loop[State, Change]
	partition storage.Partition
	next      int64 // the first offset that storage does not contain
	// published is the last offset of a batch whose messages Kafka has and the
	// outbox still holds, or -1. The next batch's transaction takes them out;
	// where no batch is at hand, one of their own does.
	published int64
}

// run publishes what an earlier owner left behind and then processes batches
// until the session ends. mark is told the next offset after each batch.
func (w *worker[State, Change]) run(session context.Context, messages <-chan *sarama.ConsumerMessage, mark func(next int64)) error {
	if err := w.publishLeftovers(session); err != nil {
		return stopped(err)
	}
	batches := batcher{messages: messages, limit: w.loop.cfg.BatchSize}
	for {
		batch := batches.atHand(session)
		if batch == nil {
			if err := w.mark(session); err != nil {
				return stopped(err)
			}
			if batch = batches.next(session); batch == nil {
				return nil
			}
		}
		if err := w.process(session, batch); err != nil {
			return stopped(err)
		}
		w.loop.deps.Fault.At(fault.BeforeCommit)
		mark(w.next)
		w.loop.deps.Lag.Advance(w.partition.Topic, w.partition.ID, w.next, headTime(batches.held))
	}
}

// process takes one batch through the whole loop. On an error the batch is
// either untouched or stored with its outbox for the partition's next owner.
func (w *worker[State, Change]) process(session context.Context, batch []*sarama.ConsumerMessage) error {
	ctx, cancel := withGrace(session, grace)
	defer cancel()
	l := w.loop
	l.deps.Lag.Advance(w.partition.Topic, w.partition.ID, w.next, batch[0].Timestamp)

	decisions, err := w.decide(ctx, session, batch)
	if err != nil {
		return err
	}
	last := batch[len(batch)-1].Offset
	l.deps.Fault.At(fault.BeforeStore)
	if err := w.store(ctx, session, decisions, last+1); err != nil {
		return err
	}
	w.next, w.published = last+1, -1
	l.deps.Fault.At(fault.AfterStore)
	l.report(ctx, w.partition, decisions)
	return w.publish(ctx, session, decisions, last)
}

// store commits the batch: changes, outgoing messages and position together.
func (w *worker[State, Change]) store(ctx, session context.Context, decisions []decision[Change], next int64) error {
	l := w.loop
	ctx, span := l.deps.Instrument.StartBatch(ctx, "store "+w.partition.Topic, links(decisions))
	defer span.End()
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
			if err := tx.Enqueue(ctx, w.partition, next-1, messages(decisions)); err != nil {
				return err
			}
			if len(applied) == 0 {
				return nil
			}
			return l.handler.Apply(ctx, tx, applied)
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

func headTime(m *sarama.ConsumerMessage) time.Time {
	if m == nil {
		return time.Time{}
	}
	return m.Timestamp
}

func links[Change any](decisions []decision[Change]) []trace.SpanContext {
	out := make([]trace.SpanContext, len(decisions))
	for i, d := range decisions {
		out[i] = trace.SpanContextFromContext(d.Context)
	}
	return out
}
