package delivery

import (
	"context"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/internal/fault"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

// publishLeftovers sends what was stored but perhaps not published before this
// partition came to us. What was published after all is sent a second time,
// with the same event ids.
func (w *worker[State, Change]) publishLeftovers(session context.Context) error {
	ctx, cancel := withGrace(session)
	defer cancel()
	for {
		var pending storage.Pending
		var found bool
		if err := w.loop.retry(session, "read outbox", func() (err error) {
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
		w.arrived(pending.LastOffset)
		if err := w.mark(session); err != nil {
			return err
		}
	}
}

// arrived notes that Kafka has the messages of the batch that ends with last.
func (w *worker[State, Change]) arrived(last int64) {
	w.loop.deps.Fault.At(fault.AfterPublish)
	w.published = last
}

// messages returns what a batch's decisions cause, in the records' order.
func messages[Change any](decisions []decision[Change]) []record.Message {
	var out []record.Message
	for _, d := range decisions {
		out = append(out, d.messages...)
	}
	return out
}

// publish sends messages in a span of their own, which the spans that caused
// them are told of.
func (w *worker[State, Change]) publish(
	ctx, session context.Context, messages []record.Message, causes []trace.SpanContext,
) error {
	ctx, span := w.loop.deps.Instrument.StartBatch(ctx, "publish", causes)
	err := w.send(ctx, session, messages)
	span.End(err)
	return err
}

// send publishes until Kafka has everything.
func (w *worker[State, Change]) send(ctx, session context.Context, messages []record.Message) error {
	l := w.loop
	if err := l.retry(session, "publish outbox", func() error {
		records := make([]*sarama.ProducerMessage, len(messages))
		for i, m := range messages {
			records[i] = kafka.Outgoing(m)
		}
		return l.deps.Publisher.PublishAll(ctx, records)
	}); err != nil {
		return err
	}
	perTopic := map[string]int64{}
	for _, m := range messages {
		perTopic[m.Topic]++
	}
	for topic, n := range perTopic {
		l.deps.Instrument.Produced(ctx, topic, n)
	}
	return nil
}

// mark takes what was published out of the outbox.
func (w *worker[State, Change]) mark(session context.Context) error {
	if w.published < 0 {
		return nil
	}
	ctx, cancel := withGrace(session)
	defer cancel()
	if err := w.loop.retry(session, "mark outbox", func() error {
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
