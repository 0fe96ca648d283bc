package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"golang.org/x/sync/errgroup"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/fault"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

// A batch's way through its worker, with what a crash after each step leaves to
// the partition's next owner:
//
//	received   batcher.take                 nothing: it is received again
//	decided    decide, handle, try          nothing: it is decided again
//	stored     store; reported              its messages in the outbox: publishLeftovers sends them
//	published  startPublication, publish    the same: they are sent a second time, with the same event ids
//	committed  finishPublication            the same
//	marked     store of the next, or mark   nothing
//
// Two batches are under way at a time: while one is being published, the next
// is decided. It is stored once the first has been published, and its
// transaction marks the first.

// worker processes one assigned partition, batch by batch.
type worker[State, Change any] struct {
	loop      *Loop[State, Change]
	partition record.Partition
	grace     time.Duration    // how long a batch may go on after its session has ended
	next      int64            // the first offset that storage does not contain
	commit    func(next int64) // has the group's offset follow
	// publication is the stored batch that is being published, if any.
	publication *publication
	// published is the last offset of a batch whose messages Kafka has and the
	// outbox still holds, or -1. The next batch's transaction takes them out;
	// where there is no batch for a while, one of their own does.
	published int64
}

// markAfter is how long what was published may wait in the outbox for the next
// batch's transaction: longer than records are apart under any load that counts.
const markAfter = 100 * time.Millisecond

// run publishes what an earlier owner left behind and then processes batches
// until the session ends.
func (w *worker[State, Change]) run(session context.Context, messages <-chan *sarama.ConsumerMessage) error {
	err := w.publishLeftovers(session)
	if err == nil {
		err = w.consume(session, &batcher{messages: messages, limit: max(1, w.loop.cfg.BatchSize)})
		err = errors.Join(err, w.finishPublication(nil))
	}
	if errors.Is(err, errSessionOver) {
		return nil // that is how a worker is stopped
	}
	return err
}

// consume processes batches until the session ends.
func (w *worker[State, Change]) consume(session context.Context, source *batcher) error {
	for {
		if !source.look(session) && w.publication != nil {
			if err := w.finishPublication(nil); err != nil {
				return err
			}
			continue // records may have come in the meantime
		}
		if more, err := w.await(session, source); err != nil || !more {
			return err
		}
		w.loop.pace.wait(session, source.ready())
		batch := source.take(session)
		if batch == nil {
			continue // the session is over
		}
		w.loop.pace.took(len(batch))
		if err := w.process(session, batch); err != nil {
			return err
		}
	}
}

// await waits for a record. What was published leaves the outbox when none comes
// for a while, or no more comes at all.
func (w *worker[State, Change]) await(session context.Context, source *batcher) (more bool, err error) {
	if w.published >= 0 {
		enough := time.NewTimer(markAfter)
		defer enough.Stop()
		if source.wait(session, enough.C) {
			return true, nil
		}
		if err := w.mark(session); err != nil {
			return false, err
		}
	}
	return source.wait(session, nil), nil
}

// process decides and stores one batch and begins to publish its messages. On
// an error the batch is either untouched or stored with its outbox for the
// partition's next owner.
func (w *worker[State, Change]) process(session context.Context, batch []*sarama.ConsumerMessage) error {
	ctx, cancel := w.withGrace(session)
	defer cancel()
	l := w.loop
	if w.publication == nil {
		l.deps.Lag.Advance(w.partition.Topic, w.partition.ID, batch[0].Offset, batch[0].Timestamp)
	}
	decisions, err := w.decide(ctx, session, batch)
	if err == nil { // the records could be another topic's of the same name
		err = w.retry(session, "check topics", func() error { return l.deps.Topics.Confirm(w.partition) })
	}
	if err == nil {
		err = w.conclude(ctx, session, batch, decisions)
	}
	if !errors.Is(err, storage.ErrOutOfRange) {
		return err
	}
	// The database cannot hold what one of the records says: that one is set
	// aside, once it is known which.
	if len(batch) > 1 {
		for i := range batch {
			if err := w.process(session, batch[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	}
	return w.conclude(ctx, session, batch, w.outOfRange(ctx, batch[0], err))
}

// outOfRange decides a record that the database cannot hold.
func (w *worker[State, Change]) outOfRange(ctx context.Context, m *sarama.ConsumerMessage, err error) []decision[Change] {
	l, r := w.loop, kafka.Received(m)
	err = Reject(ReasonOutOfRange, err)
	c := ClassOf(err).consequences()
	ctx, span := l.startProcess(ctx, m)
	span.End(err)
	l.logOf(r, err, c.tries).Log(ctx, c.level, "record not processed")
	messages := l.complete(ctx, l.setAside(r, err))
	return []decision[Change]{{Decided: Decided[Change]{Context: ctx, Record: r}, messages: messages, err: err}}
}

// conclude stores what was decided about a batch and begins to publish it.
func (w *worker[State, Change]) conclude(ctx, session context.Context, batch []*sarama.ConsumerMessage, decisions []decision[Change]) error {
	l := w.loop
	if err := w.finishPublication(batch[0]); err != nil {
		return err
	}
	next, outgoing := batch[len(batch)-1].Offset+1, messages(decisions)
	l.deps.Fault.At(fault.BeforeStore)
	if err := w.store(ctx, session, decisions, outgoing, next); err != nil {
		return err
	}
	if w.published >= 0 { // the batch before left the outbox with it
		l.deps.Fault.At(fault.AfterMark)
	}
	w.next, w.published = next, -1
	l.deps.Fault.At(fault.AfterStore)
	l.report(ctx, w.partition, decisions)
	w.startPublication(session, decisions, outgoing)
	return nil
}

// decision is a record's outcome on its way to storage.
type decision[Change any] struct {
	Decided[Change]
	messages []record.Message
	err      error // nil where the record was processed
}

// decide has the handler decide the batch's records, several at a time.
func (w *worker[State, Change]) decide(ctx, session context.Context, batch []*sarama.ConsumerMessage) ([]decision[Change], error) {
	l := w.loop
	records := make([]record.Record, len(batch))
	for i, m := range batch {
		records[i] = kafka.Received(m)
	}
	var state State
	if err := w.retry(session, "load state", func() (err error) {
		state, err = l.handler.Load(ctx, records)
		return err
	}); err != nil {
		return nil, err
	}
	decisions := make([]decision[Change], len(batch))
	var group errgroup.Group
	group.SetLimit(max(1, l.cfg.Concurrency))
	for i := range batch {
		group.Go(func() (err error) {
			decisions[i], err = w.handle(ctx, session, state, batch[i], records[i])
			return err
		})
	}
	return decisions, group.Wait()
}

// handle decides one record, in as many tries as its failure's class allows,
// and turns a failure for good into a dead letter. Its error means that the
// session is over.
func (w *worker[State, Change]) handle(
	ctx, session context.Context, state State, m *sarama.ConsumerMessage, r record.Record,
) (d decision[Change], err error) {
	l, tries := w.loop, 0
	err = away(nil).Do(session, func() error {
		tries++
		d = w.try(ctx, state, m, r)
		if d.err == nil {
			return nil
		}
		c := ClassOf(d.err).consequences()
		log := l.logOf(r, d.err, tries)
		if c.tries == 0 || tries < c.tries {
			log.Log(d.Context, c.level, "record failed, trying again")
			return d.err
		}
		log.Log(d.Context, c.level, "record not processed")
		d.messages = l.complete(d.Context, l.setAside(r, d.err))
		return nil
	})
	if err != nil {
		err = fmt.Errorf("%w: %w", errSessionOver, err)
	}
	return d, err
}

// try has the handler see the record once, inside the record's process span:
// the span covers this try and nothing else, and what the record causes
// carries the context of the try that succeeded.
func (w *worker[State, Change]) try(ctx context.Context, state State, m *sarama.ConsumerMessage, r record.Record) decision[Change] {
	l := w.loop
	ctx, span := l.startProcess(ctx, m)
	d := decision[Change]{Decided: Decided[Change]{Context: ctx, Record: r}}
	d.Change, d.messages, d.err = l.handler.Handle(ctx, state, r)
	if d.err != nil && !ClassOf(d.err).consequences().spanFails {
		span.End(nil)
	} else {
		span.End(d.err)
	}
	d.messages = l.complete(ctx, d.messages)
	return d
}

// startProcess starts a record's process span. Of a probe it is not measured.
func (l *Loop[State, Change]) startProcess(ctx context.Context, m *sarama.ConsumerMessage) (context.Context, *otelkafka.ProcessSpan) {
	ctx, span := l.deps.Instrument.StartProcess(ctx, m)
	if banking.IsProbe(string(m.Key)) {
		span.LeaveOut()
	}
	return ctx, span
}

// store commits the batch: changes, outgoing messages and position together.
func (w *worker[State, Change]) store(
	ctx, session context.Context, decisions []decision[Change], outgoing []record.Message, next int64,
) (err error) {
	l := w.loop
	ctx, span := l.deps.Instrument.StartBatch(ctx, "store "+w.partition.Topic, spansOf(decisions))
	defer func() { span.End(err) }()
	changed := changes(decisions)
	var newest time.Time
	for _, d := range decisions {
		// Of what is set aside, the time is whatever its producer wrote.
		if d.err == nil && d.Record.Time.After(newest) {
			newest = d.Record.Time
		}
	}
	return w.retry(session, "store batch", func() error {
		return l.deps.Store.Update(ctx, func(tx *storage.Tx) error {
			if err := tx.Advance(ctx, w.partition, w.next, next, newest); err != nil {
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
			if len(changed) == 0 {
				return nil
			}
			return l.handler.Store(ctx, tx, changed)
		})
	})
}

// report counts a batch once its transaction is stored: what storage has is
// what the metrics say, whatever was tried again before. Probes are left out.
func (l *Loop[State, Change]) report(ctx context.Context, p record.Partition, decisions []decision[Change]) {
	consumed := int64(0)
	for _, d := range decisions {
		if banking.IsProbe(string(d.Record.Key)) {
			continue
		}
		consumed++
		switch {
		case d.err == nil:
			l.countLetters(d)
		case ClassOf(d.err).consequences().duplicate:
			l.deps.Failures.CountDuplicate(d.Context, p.Topic)
		default:
			reason := string(reasonOf(d.err))
			l.deps.Failures.CountFailed(d.Context, p.Topic, reason)
			if len(d.messages) > 0 {
				l.deps.Failures.CountDeadLettered(d.Context, p.Topic, reason)
			}
		}
	}
	l.deps.Instrument.CountConsumed(ctx, p.Topic, consumed)
	if changed := changes(decisions); len(changed) > 0 {
		l.handler.Stored(changed)
	}
}

// countLetters counts the records that a handler set aside with the one that it
// took: see [Letter].
func (l *Loop[State, Change]) countLetters(d decision[Change]) {
	for _, m := range d.messages {
		origin, _, err := record.ParseOrigin(record.Record{Headers: m.Headers})
		if err == nil {
			l.deps.Failures.CountFailed(d.Context, origin.Place.Topic, origin.Reason)
			l.deps.Failures.CountDeadLettered(d.Context, origin.Place.Topic, origin.Reason)
		}
	}
}

// changes returns what the processed records change.
func changes[Change any](decisions []decision[Change]) []Decided[Change] {
	out := make([]Decided[Change], 0, len(decisions))
	for _, d := range decisions {
		if d.err == nil {
			out = append(out, d.Decided)
		}
	}
	return out
}

// messages returns what a batch's decisions cause, in the records' order.
func messages[Change any](decisions []decision[Change]) []record.Message {
	var out []record.Message
	for _, d := range decisions {
		out = append(out, d.messages...)
	}
	return out
}
