package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/fault"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

// publication is a stored batch whose messages are on their way to Kafka.
type publication struct {
	next     int64 // the first offset after the batch
	messages bool  // whether it has any
	done     chan error
}

// startPublication begins to publish the messages of the batch that was just
// stored. [worker.finishPublication] has to follow.
func (w *worker[State, Change]) startPublication(session context.Context, decisions []decision[Change], outgoing []record.Message) {
	p := &publication{next: w.next, messages: len(outgoing) > 0, done: make(chan error, 1)}
	w.publication = p
	if !p.messages {
		p.done <- nil
		return
	}
	go func() {
		ctx, cancel := w.withGrace(session)
		defer cancel()
		p.done <- w.publish(ctx, session, outgoing, publishers(decisions))
	}()
}

// publishers returns the process spans of those decisions that cause messages.
func publishers[Change any](decisions []decision[Change]) []trace.SpanContext {
	return spansOf(slices.DeleteFunc(slices.Clone(decisions), func(d decision[Change]) bool { return len(d.messages) == 0 }))
}

// finishPublication waits until Kafka has the stored batch's messages, and has
// the group's offset follow. first is the first record after the batch, where
// it is known.
func (w *worker[State, Change]) finishPublication(first *sarama.ConsumerMessage) error {
	p := w.publication
	if p == nil {
		return nil
	}
	w.publication = nil
	if err := <-p.done; err != nil {
		return err
	}
	if p.messages {
		w.noteArrival(p.next - 1)
	}
	w.loop.deps.Fault.At(fault.BeforeCommit)
	w.commit(p.next)
	// The offset of a record in progress leaves out what lies before it and is no
	// record: markers, and what compaction took.
	next, since := p.next, time.Time{}
	if first != nil {
		next, since = first.Offset, first.Timestamp
	}
	w.loop.deps.Lag.Advance(w.partition.Topic, w.partition.ID, next, since)
	return nil
}

// publishLeftovers publishes what was stored but perhaps not published before
// this partition came to us. What was published after all is sent a second
// time, with the same event ids.
func (w *worker[State, Change]) publishLeftovers(session context.Context) error {
	ctx, cancel := w.withGrace(session)
	defer cancel()
	for {
		var pending storage.Pending
		var found bool
		if err := w.retry(session, "read outbox", func() (err error) {
			pending, found, err = w.loop.deps.Store.Outbox(ctx, w.partition)
			return err
		}); err != nil || !found {
			return err
		}
		w.loop.deps.Log.InfoContext(ctx, "publishing what was left in the outbox", "topic", w.partition.Topic,
			"partition", w.partition.ID, "messages", len(pending.Messages))
		if err := w.publish(ctx, session, pending.Messages, w.loop.carriedSpans(pending.Messages)); err != nil {
			return err
		}
		w.noteArrival(pending.LastOffset)
		if err := w.mark(session); err != nil {
			return err
		}
	}
}

// publish sends messages until Kafka has them all, in a span that is linked to
// those that caused them.
func (w *worker[State, Change]) publish(
	ctx, session context.Context, messages []record.Message, causes []trace.SpanContext,
) (err error) {
	l := w.loop
	ctx, span := l.deps.Instrument.StartBatch(ctx, "publish", causes)
	defer func() { span.End(err) }()
	if err := w.retry(session, "publish outbox", func() error { return l.send(ctx, messages) }); err != nil {
		return err
	}
	perTopic := map[string]int64{}
	for _, m := range messages {
		if !banking.IsProbe(string(m.Key)) {
			perTopic[m.Topic]++
		}
	}
	for topic, n := range perTopic {
		l.deps.Instrument.CountProduced(ctx, topic, n)
	}
	return nil
}

// noteArrival notes that Kafka has the messages of the batch that ends with last.
func (w *worker[State, Change]) noteArrival(last int64) {
	w.loop.deps.Fault.At(fault.AfterPublish)
	w.published = last
}

// mark takes what was published out of the outbox.
func (w *worker[State, Change]) mark(session context.Context) error {
	if w.published < 0 {
		return nil
	}
	ctx, cancel := w.withGrace(session)
	defer cancel()
	if err := w.retry(session, "mark outbox", func() error {
		return w.loop.deps.Store.Update(ctx, func(tx *storage.Tx) error {
			return tx.MarkPublished(ctx, w.partition, w.published)
		})
	}); err != nil {
		return err
	}
	w.published = -1
	w.loop.deps.Fault.At(fault.AfterMark)
	return nil
}

// send publishes messages. Where Kafka finds some too large, or a batch that the
// client made of them, each is sent alone, and dead letters are cut until they
// fit: their topic may take less than it did when they were stored.
func (l *Loop[State, Change]) send(ctx context.Context, messages []record.Message) error {
	records := make([]*sarama.ProducerMessage, len(messages))
	for i, m := range messages {
		records[i] = kafka.Outgoing(m)
	}
	err := l.deps.Publisher.PublishAll(ctx, records)
	refused, ok := errors.AsType[*kafka.TooLargeError](err)
	if !ok {
		return err
	}
	for _, i := range refused.Records {
		if err := l.sendAlone(ctx, messages[i]); err != nil {
			return err
		}
	}
	return nil
}

func (l *Loop[State, Change]) sendAlone(ctx context.Context, m record.Message) error {
	for {
		err := l.deps.Publisher.PublishAll(ctx, []*sarama.ProducerMessage{kafka.Outgoing(m)})
		if !errors.Is(err, kafka.ErrTooLarge) {
			return err
		}
		letter, ok := l.fitTo(ctx, m, l.deps.Sizes.Refused(m.Topic, m.Size()))
		if !ok {
			return nil
		}
		if letter.Size() == m.Size() { // no letter: what was decided cannot be left out
			return fmt.Errorf("%s takes no record of %d bytes; raise its max.message.bytes with `vigie topics`: %w", m.Topic, m.Size(), err)
		}
		m = letter
	}
}

// carriedSpans returns the process spans that caused messages which an earlier
// owner stored, each once: the messages carry them.
func (l *Loop[State, Change]) carriedSpans(messages []record.Message) []trace.SpanContext {
	var out []trace.SpanContext
	for _, m := range messages {
		carrier := &sarama.ConsumerMessage{}
		for _, h := range m.Headers {
			carrier.Headers = append(carrier.Headers, &sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
		span := trace.SpanContextFromContext(l.deps.Instrument.Extract(context.Background(), carrier))
		same := func(s trace.SpanContext) bool { return s.SpanID() == span.SpanID() && s.TraceID() == span.TraceID() }
		if span.IsValid() && !slices.ContainsFunc(out, same) {
			out = append(out, span)
		}
	}
	return out
}
