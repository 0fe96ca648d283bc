package deadletters

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

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
	m := producerMessage(record.Message{Topic: w.Origin.Topic, Key: w.RecordKey, Value: w.Value, Headers: w.Headers})
	ctx, span := r.Instrument.StartSend(s.ctx, m)
	err := r.Publisher.PublishAll(ctx, []*sarama.ProducerMessage{m})
	span.End(m.Partition, m.Offset, err)
	if err != nil {
		return fmt.Errorf("publish to %s: %w", w.Origin.Topic, err)
	}
	s.ctx = ctx
	return nil
}

// mark sends the markers of the letters that have not failed.
func (r *run) mark(ctx context.Context, steps []*step) {
	var marked []*step
	var markers []*sarama.ProducerMessage
	var spans []*otelkafka.SendSpan
	for _, s := range steps {
		if s.err != nil {
			continue
		}
		m := producerMessage(marker(s.whole, Resolution{Kind: r.kind, At: time.Now().UTC()}))
		_, span := r.Instrument.StartSend(s.ctx, m)
		marked, markers, spans = append(marked, s), append(markers, m), append(spans, span)
	}
	if len(markers) == 0 {
		return
	}
	err := r.Publisher.PublishAll(ctx, markers)
	for i, s := range marked {
		spans[i].End(markers[i].Partition, markers[i].Offset, err)
		switch {
		case err != nil && r.kind == record.Replayed:
			s.err = fmt.Errorf("%w: %w", ErrUnmarked, err)
		case err != nil:
			s.err = fmt.Errorf("mark as %s: %w", r.kind, err)
		}
	}
}

// extract returns ctx with the trace context that the letter carries.
func (r *run) extract(ctx context.Context, w Whole) context.Context {
	m := &sarama.ConsumerMessage{}
	for _, h := range w.Trace {
		m.Headers = append(m.Headers, &sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	return r.Instrument.Extract(ctx, m)
}

// producerMessage is the message in sarama's form. A null key or value is not
// an empty one.
func producerMessage(m record.Message) *sarama.ProducerMessage {
	pm := &sarama.ProducerMessage{Topic: m.Topic}
	if m.Key != nil {
		pm.Key = sarama.ByteEncoder(m.Key)
	}
	if m.Value != nil {
		pm.Value = sarama.ByteEncoder(m.Value)
	}
	for _, h := range m.Headers {
		pm.Headers = append(pm.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	return pm
}

// digest tells records apart by topic, key, value and headers.
type digest [sha256.Size]byte

func (w Whole) digest() digest {
	h := sha256.New()
	part(h, []byte(w.Origin.Topic))
	part(h, w.RecordKey)
	part(h, w.Value)
	for _, header := range w.Headers {
		part(h, []byte(header.Key))
		part(h, header.Value)
	}
	return digest(h.Sum(nil))
}

// part adds one part with its length; a null one has none of any other.
func part(h hash.Hash, p []byte) {
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
