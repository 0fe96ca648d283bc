package kafka

import (
	"context"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/services/internal/fault"
	"github.com/vigie-dev/vigie/services/internal/storage"
)

// leftoverBatch is how many messages of an earlier owner are published at a
// time; one record causes far fewer.
const leftoverBatch = 500

// publish sends the batch's messages and marks them.
func (w *worker[State, Change]) publish(ctx, session context.Context, decisions []decision[Change], last int64) error {
	var messages []storage.Message
	for _, d := range decisions {
		messages = append(messages, d.messages...)
	}
	if len(messages) == 0 {
		return nil
	}
	ctx, span := w.loop.deps.Instrument.StartBatch(ctx, "publish", links(decisions))
	defer span.End()
	return w.send(ctx, session, messages, last)
}

// publishLeftovers sends what was stored but perhaps not published before this
// partition came to us. What was published after all is sent a second time,
// with the same event ids.
func (w *worker[State, Change]) publishLeftovers(session context.Context) error {
	ctx, cancel := withGrace(session, grace)
	defer cancel()
	for {
		var pending []storage.Pending
		if err := w.loop.retry(session, "read outbox", func() (err error) {
			pending, err = w.loop.deps.Store.Outbox(ctx, w.partition, leftoverBatch)
			return err
		}); err != nil || len(pending) == 0 {
			return err
		}
		pending = wholeRecords(pending, leftoverBatch)
		messages := make([]storage.Message, len(pending))
		for i, p := range pending {
			messages[i] = p.Message
		}
		w.loop.deps.Log.InfoContext(ctx, "publishing what was left in the outbox", "topic", w.partition.Topic,
			"partition", w.partition.ID, "messages", len(messages))
		if err := w.send(ctx, session, messages, pending[len(pending)-1].SourceOffset); err != nil {
			return err
		}
	}
}

// wholeRecords drops the last record's messages where the limit may have cut
// them, since messages are marked by record.
func wholeRecords(pending []storage.Pending, limit int) []storage.Pending {
	if len(pending) < limit {
		return pending
	}
	last := pending[len(pending)-1].SourceOffset
	n := len(pending)
	for n > 0 && pending[n-1].SourceOffset == last {
		n--
	}
	return pending[:n]
}

// send publishes until Kafka has everything, then marks it as published.
func (w *worker[State, Change]) send(ctx, session context.Context, messages []storage.Message, last int64) error {
	l := w.loop
	if err := l.retry(session, "publish outbox", func() error {
		records := make([]*sarama.ProducerMessage, len(messages))
		for i, m := range messages {
			records[i] = outgoing(m)
		}
		return l.deps.Publisher.PublishAll(ctx, records)
	}); err != nil {
		return err
	}
	l.deps.Fault.At(fault.AfterPublish)
	perTopic := map[string]int64{}
	for _, m := range messages {
		perTopic[m.Topic]++
	}
	for topic, n := range perTopic {
		l.deps.Instrument.Produced(ctx, topic, n)
	}
	return l.retry(session, "mark outbox", func() error {
		return l.deps.Store.MarkPublished(ctx, w.partition, last)
	})
}
