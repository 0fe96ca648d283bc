package delivery

import (
	"context"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// batcher cuts a partition's records into batches: as many as are there,
// each key once, so that a batch's records can be decided side by side.
type batcher struct {
	messages <-chan *sarama.ConsumerMessage
	limit    int                     // the most records of a batch, 1 or more
	first    *sarama.ConsumerMessage // of the next batch, where it was received
}

// look says whether the next batch's first record is there, without waiting.
func (b *batcher) look(ctx context.Context) bool {
	if b.first == nil && ctx.Err() == nil {
		select {
		case b.first = <-b.messages: // nil where the claim is over
		default:
		}
	}
	return b.first != nil && ctx.Err() == nil
}

// wait is look once a record has come. It returns false when the claim or the
// session is over, and when enough has been waited.
func (b *batcher) wait(ctx context.Context, enough <-chan time.Time) bool {
	if b.first == nil {
		select {
		case b.first = <-b.messages:
		case <-enough:
		case <-ctx.Done():
		}
	}
	return b.first != nil && ctx.Err() == nil
}

// ready is how many records are there for a batch, first included, at least.
func (b *batcher) ready() int { return 1 + len(b.messages) }

// take returns the batch whose first record is there; none once the session is over.
func (b *batcher) take(ctx context.Context) (batch []*sarama.ConsumerMessage) {
	keys := map[string]struct{}{}
	for len(batch) < b.limit && b.look(ctx) {
		if _, seen := keys[string(b.first.Key)]; seen {
			break
		}
		keys[string(b.first.Key)] = struct{}{}
		batch = append(batch, b.first)
		b.first = nil
	}
	return batch
}

// pace has the workers of an instance begin their batches together, in rounds, and
// the less often the more records come. A batch costs a synced transaction, some
// requests and a few wake-ups, however many records it has: under load it waits
// for more of them, and shares what it costs with other partitions' batches. Where
// records come seldom none waits. The zero value is ready for use.
type pace struct {
	mu      sync.Mutex
	began   time.Time // the round under way
	records int       // in its batches
	next    time.Time // when the next one may begin
}

const (
	// roundPerRecord is how long a round lasts for each record in it: rounds grow
	// where more records come in a second than fit into it, a thousand, and shrink
	// to nothing where fewer do.
	roundPerRecord = time.Millisecond
	// longestRound bounds what a record waits for others.
	longestRound = 20 * time.Millisecond
	// fullBatch is a batch that costs little beside its records, and waits for none.
	fullBatch = 100
)

// wait waits for the next round, with a batch of so many records.
func (p *pace) wait(ctx context.Context, ready int) {
	p.mu.Lock()
	left := time.Until(p.next)
	p.mu.Unlock()
	if left <= 0 || ready >= fullBatch {
		return
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// took counts a batch that begins.
func (p *pace) took(records int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); !now.Before(p.next) {
		p.began, p.records = now, 0
	}
	p.records += records
	p.next = p.began.Add(min(longestRound, time.Duration(p.records)*roundPerRecord))
}
