package otelkafka

import (
	"context"
	"sync"

	"github.com/IBM/sarama"
)

// flight holds the spans of records that sarama has, by the record itself: Metadata stays the user's, also for
// partitioners and interceptors. Only sampled records are in it, and never more than sarama has in hand.
type flight struct {
	mu    sync.Mutex
	spans map[*sarama.ProducerMessage]*SendSpan
}

func (f *flight) put(msg *sarama.ProducerMessage, span SendSpan) {
	f.mu.Lock()
	earlier := f.spans[msg]
	f.spans[msg] = &span
	f.mu.Unlock()
	if earlier != nil { // a record sent twice at once: nothing can tell the two apart
		earlier.span.End()
	}
}

// take returns the record's span, if it has one, and forgets it.
func (f *flight) take(msg *sarama.ProducerMessage) *SendSpan {
	f.mu.Lock()
	defer f.mu.Unlock()
	span := f.spans[msg]
	delete(f.spans, msg)
	return span
}

// end ends the record's span, if it has one, and counts the record if it was acknowledged.
func (p *asyncProducer) end(msg *sarama.ProducerMessage, err error) {
	var span *SendSpan
	if p.inst.convention != nil || !saysUnsampled(msg) {
		span = p.flight.take(msg)
	}
	switch {
	case span != nil:
		span.End(msg.Partition, msg.Offset, err)
	case err == nil:
		p.inst.Produced(context.Background(), msg.Topic, 1)
	}
}

// saysUnsampled tells from the header that Inject wrote last that the record has no span to look for. After an
// interceptor that added headers it does not know, and says false.
func saysUnsampled(msg *sarama.ProducerMessage) bool {
	if len(msg.Headers) == 0 {
		return false
	}
	last := msg.Headers[len(msg.Headers)-1]
	return len(last.Value) == parentLen && string(last.Key) == parentName && last.Value[parentLen-1]&1 == 0 // '0' or '2'
}

// abandon ends what a producer closed without a word about it.
func (f *flight) abandon() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for msg, span := range f.spans {
		span.End(0, 0, sarama.ErrShuttingDown)
		delete(f.spans, msg)
	}
}
