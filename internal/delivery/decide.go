package delivery

import (
	"context"
	"errors"
	"slices"

	"github.com/IBM/sarama"
	"golang.org/x/sync/errgroup"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
)

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
	if err := l.retry(session, "load state", func() (err error) {
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
			decisions[i], err = w.decideOne(ctx, session, state, batch[i], records[i])
			return err
		})
	}
	return decisions, group.Wait()
}

// decideOne handles one record, again where its class allows, and turns a
// failure into a dead letter. Its error means that the session is over.
func (w *worker[State, Change]) decideOne(ctx, session context.Context, state State, m *sarama.ConsumerMessage, r record.Record) (decision[Change], error) {
	l := w.loop
	wait := retryBackoff()
	for try := 1; ; try++ {
		d := w.try(ctx, state, m, r)
		c := ClassOf(d.err).consequences()
		if d.err == nil {
			return d, nil
		}
		log := l.deps.Log.With("topic", r.Topic, "partition", r.ID, "offset", r.Offset, "class", c.name, "try", try, "error", d.err)
		if c.tries > 0 && try >= c.tries {
			log.Log(d.Context, c.level, "record not processed")
			d.messages = l.setAside(r, d.err, c)
			l.carryContext(d.Context, d.messages)
			return d, nil
		}
		log.Log(d.Context, c.level, "record failed, trying again")
		if lifecycle.Sleep(session, wait.NextBackOff()) != nil {
			return d, errors.Join(errSessionOver, d.err)
		}
	}
}

// try has the handler see the record once, inside the record's process span:
// the span covers this try and nothing else, and what the record causes
// carries the context of the try that succeeded.
func (w *worker[State, Change]) try(ctx context.Context, state State, m *sarama.ConsumerMessage, r record.Record) decision[Change] {
	l := w.loop
	ctx, span := l.deps.Instrument.StartProcess(ctx, m)
	d := decision[Change]{Decided: Decided[Change]{Context: ctx, Record: r}}
	d.Change, d.messages, d.err = l.handler.Handle(ctx, state, r)
	if d.err != nil && !ClassOf(d.err).consequences().spanFails {
		span.End(nil)
	} else {
		span.End(d.err)
	}
	l.carryContext(ctx, d.messages)
	return d
}

// carryContext gives outgoing records the process span's context, stored with
// them so that it survives the outbox. What a dead letter's original carried
// under these names gives way to it.
func (l *Loop[State, Change]) carryContext(ctx context.Context, messages []record.Message) {
	if len(messages) == 0 {
		return
	}
	carrier := &sarama.ProducerMessage{}
	l.deps.Instrument.Inject(ctx, carrier)
	fields := l.deps.Instrument.Fields()
	for i, m := range messages {
		headers := make([]record.Header, 0, len(m.Headers)+len(carrier.Headers))
		for _, h := range m.Headers {
			if !slices.Contains(fields, h.Key) {
				headers = append(headers, h)
			}
		}
		for _, h := range carrier.Headers {
			headers = append(headers, record.Header{Key: string(h.Key), Value: h.Value})
		}
		messages[i].Headers = headers
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
