package model_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/services/commande"
	"github.com/vigie-dev/vigie/services/paiement"
)

// ledgerFolder is where the ledger is.
func (w *world) ledgerFolder() string { return filepath.Join(w.folder, fmt.Sprint("ledger-", w.made)) }

func (w *world) ledgerURL() string { return "sqlite:" + w.ledgerFolder() }

// start starts paiement, as its service and delivery's loop do: a storage that is older than
// its group, that the log has gone past, or that is of other topics, is refused, which a reset
// fixes. What was left in the outbox is published.
func (w *world) start() {
	if w.ledger != nil {
		return
	}
	w.known = w.topics()
	var err error
	w.ledger, err = paiement.OpenLedger(w.ctx, paiement.LedgerConfig{
		URL: w.ledgerURL(), Log: w.log, Authoriser: w.authoriser, Clocks: w.ledgerTime.read, Identities: w.identities(),
		Topics: w.known, Began: func(context.Context) (kafka.Began, error) { return w.began(), nil },
	})
	if errors.Is(err, storage.ErrForeign) {
		w.reset()
		w.start()
		return
	}
	w.must(err)
	w.learned()
	w.prune(w.ledger.Pruning())
	for _, span := range w.spans() {
		next, known, err := w.ledger.Store.Position(w.ctx, span.Partition)
		w.must(err)
		if known && (next < w.commits[span.Partition].next || next < span.Start || next > span.End) {
			w.reset()
			w.start()
			return
		}
		if !known {
			next = span.Start
			w.must(w.ledger.Store.StartAt(w.ctx, span.Partition, next))
		}
		w.commit(span.Partition, next)
	}
	for _, span := range w.spans() {
		w.publishOutbox(w.ledger.Store, span.Partition)
	}
}

// learned notes that the ledger has just been opened: what it does not know is
// from before, by clocks that have been ahead.
func (w *world) learned() { w.knownSince = time.Now().Add(w.mostAhead) }

func (w *world) stop() {
	if w.ledger != nil {
		w.must(w.ledger.Close())
		w.ledger = nil
	}
}

// spans are what paiement reads.
func (w *world) spans() []kafka.Span {
	spans, err := w.log.Bounds(w.ctx, banking.ReadBy(banking.GroupPaiement)...)
	w.must(err)
	return spans
}

// committed is what Kafka knows of a group's partition: its offset, and what the service says
// with it.
type committed struct {
	next int64
	said string
}

// commit is of paiement's group.
func (w *world) commit(p record.Partition, next int64) {
	w.commits[p] = committed{next, w.known.Stamp()}
}

// identities are those of the topics, as a broker gives them.
func (w *world) identities() map[string]string {
	ids := map[string]string{"cluster": "one"}
	for _, t := range banking.Topics() {
		ids[kafka.TopicIdentity(t.Name)] = fmt.Sprint(w.replacements[t.Name])
	}
	return ids
}

// topics are those that paiement begins with.
func (w *world) topics() *kafka.Identity {
	var names []string
	for _, t := range banking.Topics() {
		names = append(names, t.Name)
	}
	return kafka.NewIdentity(nil, names, w.identities())
}

// began is what paiement's group says that it began with.
func (w *world) began() kafka.Began {
	topics := w.topics()
	b := topics.Nothing()
	for p, c := range w.commits {
		topics.Read(&b, p, c.next, c.said)
	}
	return b
}

// untold says whether nobody can tell what topics were before they were replaced: Kafka
// forgets what a group has committed in a topic together with the topic.
func (w *world) untold() bool { return len(w.commits) == 0 && len(w.replacements) > 0 }

// publishOutbox publishes what a service has stored and has perhaps not published.
func (w *world) publishOutbox(s *storage.Store, p record.Partition) {
	for {
		pending, found, err := s.Outbox(w.ctx, p)
		w.must(err)
		if !found {
			return
		}
		for _, m := range pending.Messages {
			w.publish(m)
		}
		w.must(s.Update(w.ctx, func(tx *storage.Tx) error { return tx.MarkPublished(w.ctx, p, pending.LastOffset) }))
	}
}

// everything is more than a partition holds.
const everything = 1 << 20

// consume has paiement read the next records of a partition, one at a time. A
// crash comes between the last one's storing and its publishing.
func (w *world) consume(p record.Partition, most int, crash bool) {
	w.start()
	next, _, err := w.ledger.Store.Position(w.ctx, p)
	w.must(err)
	records := w.log.Records(p)
	records = slices.DeleteFunc(records, func(r record.Record) bool { return r.Offset < next })
	records = records[:min(most, len(records))]
	for i, r := range records {
		failure := take(w, w.ledger.Store, w.ledger.Handler(), banking.GroupPaiement, next, r)
		w.checkAge(r, failure)
		if failure == nil && r.Topic == banking.TopicOrdersCreated {
			w.life(string(r.Key)).stored = true
		}
		next = r.Offset + 1
		if crash && i == len(records)-1 {
			w.stop()
			return
		}
		w.publishOutbox(w.ledger.Store, p)
		w.commit(p, next)
	}
}

// take is the delivery loop's way with one record: load, handle, and one
// transaction for position, outbox and changes. It returns why the record was not taken.
func take[State, Change any](w *world, s *storage.Store, h delivery.Handler[State, Change], group string, from int64, r record.Record) error {
	state, err := h.Load(w.ctx, []record.Record{r})
	w.must(err)
	change, messages, failure := h.Handle(w.ctx, state, r)
	switch delivery.ClassOf(failure) {
	case delivery.ClassTransient, delivery.ClassReject:
		if topic := banking.DeadLetterTopic(r.Topic); topic != "" {
			messages = []record.Message{delivery.Letter(topic, group, r, failure)}
		}
	case delivery.ClassDuplicate:
	case delivery.ClassRetry:
		w.must(failure) // nil is of this class too
	}
	w.must(s.Update(w.ctx, func(tx *storage.Tx) error {
		if err := tx.Advance(w.ctx, r.Partition, from, r.Offset+1, r.Time); err != nil {
			return err
		}
		if err := tx.Enqueue(w.ctx, r.Partition, r.Offset, messages); err != nil || failure != nil {
			return err
		}
		return h.Store(w.ctx, tx, []delivery.Decided[Change]{{Context: w.ctx, Record: r, Change: change}})
	}))
	return failure
}

// checkAge: an order is set aside for its age only where it is older than what
// the ledger has to know.
func (w *world) checkAge(r record.Record, failure error) {
	var f *delivery.Failure
	if !errors.As(failure, &f) || f.Reason != delivery.ReasonTooOld {
		return
	}
	order, err := delivery.DecodeAs[banking.OrderCreated](r)
	w.must(err)
	placed := slices.MinFunc([]time.Time{order.CreatedAt, r.Time}, time.Time.Compare)
	const skew = 5 * time.Minute
	if placed.After(w.knownSince.Add(skew)) && placed.After(time.Now().Add(skew-service.DefaultRetention)) {
		w.t.Fatalf("%s was set aside as too old after %v: %v", order.OrderID, time.Since(placed), failure)
	}
}

// reset is what `vigie reset` does: ids go on, the ledger begins anew and keeps what it
// knows, the views are cleared, and the groups forget where they were.
func (w *world) reset() {
	w.closeDesk()
	desk, err := commande.OpenStorage(w.ctx, w.deskURL())
	w.must(err)
	_, err = commande.SkipIDs(w.ctx, desk, w.log)
	w.must(errors.Join(err, desk.Close()))
	w.stop()
	around := paiement.Surroundings{
		Identities: w.identities(), Stamps: w.viewsTopics, Began: w.began(), Log: w.log, Publisher: publisher{w},
	}
	ledger, err := paiement.OpenReset(w.ctx, w.ledgerURL(), around)
	w.must(err)
	w.must(errors.Join(ledger.Do(w.ctx), ledger.Close()))
	w.forgetUnseen()
	w.loseViews()
	for _, span := range w.spans() {
		if c, ok := w.commits[span.Partition]; ok {
			w.commits[span.Partition] = committed{span.Start, kafka.Rewound(c.said)}
		}
	}
	w.must(w.tryDesk())
}

// publisher publishes what a reset finds in the ledger's outbox.
type publisher struct{ w *world }

func (p publisher) PublishAll(_ context.Context, messages []*sarama.ProducerMessage) error {
	for _, m := range messages {
		key, err := m.Key.Encode()
		p.w.must(err)
		value, err := m.Value.Encode()
		p.w.must(err)
		out := record.Message{Topic: m.Topic, Key: key, Value: value}
		for _, h := range m.Headers {
			out.Headers = append(out.Headers, record.Header{Key: string(h.Key), Value: h.Value})
		}
		p.w.publish(out)
	}
	return nil
}

// forgetUnseen: decisions of a ledger that is gone, and that nobody has seen, are no more.
func (w *world) forgetUnseen() {
	for _, l := range w.orders {
		l.stored = len(l.results) > 0
	}
}

// loseLedger gives paiement a new ledger, of which no reset knows.
func (w *world) loseLedger() {
	w.stop()
	w.made++
	w.forgetUnseen()
}

// copyLedger keeps a copy of the stopped ledger, and restore puts it back.
func (w *world) copyLedger() {
	w.start()
	w.stop()
	w.backup = filepath.Join(w.folder, fmt.Sprint("backup-", time.Now().UnixNano()))
	w.must(os.CopyFS(w.backup, os.DirFS(w.ledgerFolder())))
}

func (w *world) restore() {
	w.stop()
	w.loseLedger() // the folder's name, and what was not seen
	w.must(os.CopyFS(w.ledgerFolder(), os.DirFS(w.backup)))
}

// position is how far paiement has come.
func (w *world) position(p record.Partition) int64 {
	w.start()
	next, _, err := w.ledger.Store.Position(w.ctx, p)
	w.must(err)
	return next
}
