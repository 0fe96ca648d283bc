package deadletters

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

var (
	// ErrForeign: nobody knows where the letter came from.
	ErrForeign = errors.New("no consumer group has set it aside: there is nothing to replay")
	// ErrGone: retention has deleted the letter since it was listed.
	ErrGone = errors.New("no longer in the topic")
	// ErrPurged: the letter was given up for good.
	ErrPurged = errors.New("purged, which is for good")
	// ErrDecided: the letter's order does not need it.
	ErrDecided = errors.New("its order has been decided")
	// ErrDecidedMeanwhile: the letter's order was decided since it was listed.
	ErrDecidedMeanwhile = fmt.Errorf("decided meanwhile, which is final: %w", ErrDecided)
	// ErrUnconfirmed: the purge is written, and nobody can read it yet.
	ErrUnconfirmed = errors.New("the purge is written and cannot be read yet: it binds once the transaction that hides it has ended, unless the order is decided before")
	// ErrUnmarked: the letter's record was published, its marker perhaps not.
	ErrUnmarked = errors.New("replayed, but perhaps not marked: if it stays listed, replaying it again is harmless")
)

// Resolver replays and purges letters. Several may be at work at once, and
// beside running services: what is done twice has the effect of once.
type Resolver struct {
	Source     Source
	Publisher  delivery.BatchPublisher
	Instrument *otelkafka.Instrumentation
	// Looked is up to where the decisions were read by which the letters were
	// chosen: a purge reads on from there. nil: from their start.
	Looked map[record.Partition]int64
}

// Outcome is what became of one letter.
type Outcome struct {
	Letter Letter
	Err    error // nil: replayed or purged, as requested
}

// Replay publishes the records that letters hold to the topics they came from,
// with their own key, value and headers, and then marks the letters. The trace
// goes on in a span "send TOPIC", a child of the try that failed.
//
// The record is published first: a crash between the two leaves the letter
// listed, and a second replay is harmless, because consumers compare event
// ids. Letters that hold the same record, as those of several groups do, have
// it published once. A letter that is purged is refused with [ErrPurged], one
// whose order has been decided with [ErrDecided].
//
// report is called for each letter exactly once, by one goroutine at a time. The
// error is a failure to read; the letters it leaves are reported with it.
func (s Resolver) Replay(ctx context.Context, letters []Letter, report func(Outcome)) error {
	return s.resolve(ctx, record.Replayed, letters, report)
}

// Purge marks letters as given up for good. The markers name the orders that
// waited for them, which paiement does not decide any more, whatever brings them
// back. The letters stay in the topic until its retention deletes them. A letter
// whose order has been decided is refused with [ErrDecided]: decisions are looked
// at before each marker is written, and again afterwards, for of a decision and a
// purge the first in the ledger is final. A purge that is reported without an error
// can be read by everybody; one that an open transaction hides is [ErrUnconfirmed].
// report and error are those of [Resolver.Replay].
func (s Resolver) Purge(ctx context.Context, letters []Letter, report func(Outcome)) error {
	return s.resolve(ctx, record.Purged, letters, report)
}

func (s Resolver) resolve(ctx context.Context, kind string, letters []Letter, report func(Outcome)) error {
	r := &run{Resolver: s, kind: kind, report: report, batches: map[record.Partition]*batch{}, left: map[record.Place]Letter{}, sent: map[digest]struct{}{},
		orders: map[order]string{}, looked: map[record.Partition]int64{}}
	maps.Copy(r.looked, s.Looked)
	letters = r.refuse(letters)
	for _, l := range letters {
		r.left[l.ID] = l
		if l.EventID != "" {
			r.orders[l.order()] = ""
		}
	}
	err := s.Source.Open(ctx, letters, func(w Whole) error {
		if full := r.add(w); full != nil {
			r.process(ctx, full)
		}
		return ctx.Err()
	})
	if err == nil {
		err = r.flush(ctx)
	}
	r.reportLeft(letters, err)
	return err
}

// refuse reports the letters of which nothing may become any more, and returns
// the others.
func (r *run) refuse(letters []Letter) (others []Letter) {
	for _, l := range letters {
		switch {
		case l.Decided():
			r.report(Outcome{l, ErrDecided})
		case l.Purged() && r.kind == record.Replayed:
			r.report(Outcome{l, ErrPurged})
		default:
			others = append(others, l)
		}
	}
	return others
}

const (
	// batchLetters and batchBytes bound what one partition's letters take in
	// memory while they are resolved.
	batchLetters = 256
	batchBytes   = 4 << 20
	// batchTime bounds one batch. It is finished even when the context ends,
	// so that no letter is replayed and left unmarked by Ctrl-C.
	batchTime = 30 * time.Second
)

// run is one call of Replay or Purge.
type run struct {
	Resolver
	kind   string
	report func(Outcome)

	mu      sync.Mutex
	batches map[record.Partition]*batch
	left    map[record.Place]Letter // not reported yet
	sent    map[digest]struct{}

	looking sync.Mutex
	looked  map[record.Partition]int64 // up to where decisions have been read
	orders  map[order]string           // that wait for the letters, and the status of those that are decided
}

// batch is what has been read of one partition and not been resolved.
type batch struct {
	letters []Whole
	bytes   int
}

// add returns the partition's batch once it is full.
func (r *run) add(w Whole) []Whole {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := w.ID.Partition
	b := r.batches[p]
	if b == nil {
		b = &batch{}
		r.batches[p] = b
	}
	b.letters = append(b.letters, w)
	b.bytes += w.size()
	if len(b.letters) < batchLetters && b.bytes < batchBytes {
		return nil
	}
	full := b.letters
	*b = batch{}
	return full
}

// flush resolves the batches that did not become full.
func (r *run) flush(ctx context.Context) error {
	for _, b := range r.batches {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.process(ctx, b.letters)
	}
	return nil
}

// process resolves a batch to its end, whatever becomes of the context.
func (r *run) process(ctx context.Context, letters []Whole) {
	if len(letters) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), batchTime)
	defer cancel()
	steps := make([]*step, len(letters))
	for i, w := range letters {
		steps[i] = &step{whole: w, ctx: r.extract(ctx, w)}
	}
	if r.kind == record.Replayed {
		r.publish(steps)
		r.mark(ctx, steps)
	} else {
		r.refuseDecided(ctx, steps, "not purged")
		r.confirm(ctx, r.mark(ctx, steps))
		r.refuseDecided(ctx, steps, "purged, but perhaps decided before")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range steps {
		r.reportOne(s.whole.ID, s.err)
	}
}

// reportOne reports a letter. The caller has locked mu.
func (r *run) reportOne(id record.Place, err error) {
	if l, ok := r.left[id]; ok {
		delete(r.left, id)
		r.report(Outcome{Letter: l, Err: err})
	}
}

// reportLeft reports the letters that no batch has reported.
func (r *run) reportLeft(letters []Letter, err error) {
	if err == nil {
		err = ErrGone
	} else {
		err = fmt.Errorf("not tried: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range letters {
		r.reportOne(l.ID, err)
	}
}

// step is one letter on its way through a batch.
type step struct {
	whole Whole
	ctx   context.Context // the letter's trace; with its send span once published
	err   error
}

// publish sends the batch's records side by side, each once.
func (r *run) publish(steps []*step) {
	same := map[digest][]*step{}
	for _, s := range steps {
		if s.whole.Foreign() {
			s.err = ErrForeign
			continue
		}
		d := s.whole.digest()
		same[d] = append(same[d], s)
	}
	var group sync.WaitGroup
	for d, these := range same {
		if r.published(d) {
			continue
		}
		group.Go(func() {
			err := r.send(these[0])
			for _, s := range these {
				s.err = err
			}
			if err == nil {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.sent[d] = struct{}{}
			}
		})
	}
	group.Wait()
}

// published says whether this run has published the record for another letter.
func (r *run) published(d digest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.sent[d]
	return ok
}

// send publishes the record that a letter holds.
func (r *run) send(s *step) error {
	w := s.whole
	m := kafka.Outgoing(record.Message{Topic: w.Origin.Topic, Key: w.RecordKey, Value: w.Value, Headers: w.Headers})
	ctx, span := r.Instrument.StartSend(s.ctx, m)
	err := r.Publisher.PublishAll(ctx, []*sarama.ProducerMessage{m})
	span.End(m.Partition, m.Offset, err)
	if err != nil {
		return fmt.Errorf("publish to %s: %w", w.Origin.Topic, err)
	}
	s.ctx = ctx
	return nil
}

// refuseDecided looks at the decisions that were published since the last look,
// and fails the steps of orders that are decided, or that may be by a decision
// which cannot be read; so says what that means to a letter.
func (r *run) refuseDecided(ctx context.Context, steps []*step, so string) {
	if !slices.ContainsFunc(steps, func(s *step) bool { return s.err == nil && s.whole.EventID != "" }) {
		return
	}
	r.looking.Lock()
	defer r.looking.Unlock()
	err := r.lookAgain(ctx)
	for _, s := range steps {
		if s.err != nil || s.whole.EventID == "" {
			continue
		}
		switch {
		case r.orders[s.whole.order()] != "":
			s.err = ErrDecidedMeanwhile
		case err != nil:
			s.err = fmt.Errorf("%s: %w", so, err)
		}
	}
}

// lookAgain reads on in the decisions. The caller has locked looking.
func (r *run) lookAgain(ctx context.Context) error {
	spans, unread, err := r.Source.bounds(ctx, decisionTopics())
	if err != nil {
		return fmt.Errorf("look for decisions: %w", err)
	}
	for i, s := range spans {
		spans[i].Start = min(max(s.Start, r.looked[s.Partition]), s.End)
	}
	var mu sync.Mutex // several partitions are read at once
	err = r.Source.Log.Scan(ctx, spans, func(decision record.Record) error {
		mu.Lock()
		defer mu.Unlock()
		noteDecision(r.orders, decision)
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for decisions: %w", err)
	}
	for _, s := range spans {
		r.looked[s.Partition] = s.End
	}
	return unread
}

// confirm fails the steps whose markers cannot be read back.
func (r *run) confirm(ctx context.Context, marked map[*step]*sarama.ProducerMessage) {
	if len(marked) == 0 {
		return
	}
	ends, err := r.Source.Log.Ends(ctx, Topics()...)
	for s, m := range marked {
		switch {
		case s.err != nil:
		case err != nil:
			s.err = fmt.Errorf("%w: %w", ErrUnconfirmed, err)
		case ends[record.Partition{Topic: m.Topic, ID: m.Partition}] <= m.Offset:
			s.err = ErrUnconfirmed
		}
	}
}

// mark sends the markers of the letters that have not failed, and returns them.
func (r *run) mark(ctx context.Context, steps []*step) map[*step]*sarama.ProducerMessage {
	var marked []*step
	var markers []*sarama.ProducerMessage
	var spans []*otelkafka.SendSpan
	for _, s := range steps {
		if s.err != nil {
			continue
		}
		marker := record.Marker{Letter: s.whole.ID, Resolution: r.kind, At: time.Now()}
		if r.kind == record.Purged {
			marker.EventID = s.whole.EventID
		}
		m := kafka.Outgoing(marker.Message(s.whole.RecordKey))
		_, span := r.Instrument.StartSend(s.ctx, m)
		marked, markers, spans = append(marked, s), append(markers, m), append(spans, span)
	}
	if len(markers) == 0 {
		return nil
	}
	err := r.Publisher.PublishAll(ctx, markers)
	sent := map[*step]*sarama.ProducerMessage{}
	for i, s := range marked {
		sent[s] = markers[i]
		spans[i].End(markers[i].Partition, markers[i].Offset, err)
		switch {
		case err != nil && r.kind == record.Replayed:
			s.err = fmt.Errorf("%w: %w", ErrUnmarked, err)
		case err != nil:
			s.err = fmt.Errorf("mark as %s: %w", r.kind, err)
		}
	}
	return sent
}

// extract returns ctx with the trace context that the letter carries.
func (r *run) extract(ctx context.Context, w Whole) context.Context {
	m := &sarama.ConsumerMessage{}
	for _, h := range w.Trace {
		m.Headers = append(m.Headers, &sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	return r.Instrument.Extract(ctx, m)
}

// digest distinguishes records by topic, key, value and headers.
type digest [sha256.Size]byte

func (w Whole) digest() digest {
	h := sha256.New()
	writePart(h, []byte(w.Origin.Topic))
	writePart(h, w.RecordKey)
	writePart(h, w.Value)
	for _, header := range w.Headers {
		writePart(h, []byte(header.Key))
		writePart(h, header.Value)
	}
	return digest(h.Sum(nil))
}

// writePart adds one part with its length; a null one has none of any other.
func writePart(h hash.Hash, p []byte) {
	length := int64(len(p))
	if p == nil {
		length = -1
	}
	_ = binary.Write(h, binary.BigEndian, length) // a hash takes everything
	_, _ = h.Write(p)
}

// size is about what the letter's record takes in memory.
func (w Whole) size() int {
	n := len(w.RecordKey) + len(w.Value)
	for _, h := range w.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}
