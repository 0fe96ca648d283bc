package delivery

import (
	"context"

	"github.com/IBM/sarama"
)

// batcher cuts a partition's records into batches: as many as are at hand,
// never waiting for more, each key once, so that a batch's records can be
// decided side by side.
type batcher struct {
	messages <-chan *sarama.ConsumerMessage
	limit    int
	held     *sarama.ConsumerMessage // the first record of the next batch
}

// atHand returns the next batch if its first record is there, without waiting.
func (b *batcher) atHand(ctx context.Context) []*sarama.ConsumerMessage {
	if ctx.Err() != nil {
		return nil
	}
	first := b.held
	b.held = nil
	if first == nil {
		select {
		case m, ok := <-b.messages:
			if !ok {
				return nil
			}
			first = m
		default:
			return nil
		}
	}
	return b.fill(first)
}

// next waits for a record and returns it with those that follow at once. It
// returns nothing when the claim or the session is over.
func (b *batcher) next(ctx context.Context) []*sarama.ConsumerMessage {
	if batch := b.atHand(ctx); batch != nil {
		return batch
	}
	select {
	case m, ok := <-b.messages:
		if !ok || ctx.Err() != nil {
			return nil
		}
		return b.fill(m)
	case <-ctx.Done():
		return nil
	}
}

func (b *batcher) fill(first *sarama.ConsumerMessage) []*sarama.ConsumerMessage {
	batch := []*sarama.ConsumerMessage{first}
	keys := map[string]struct{}{string(first.Key): {}}
	for len(batch) < b.limit {
		select {
		case m, ok := <-b.messages:
			if !ok {
				return batch
			}
			if _, seen := keys[string(m.Key)]; seen {
				b.held = m
				return batch
			}
			keys[string(m.Key)] = struct{}{}
			batch = append(batch, m)
		default:
			return batch
		}
	}
	return batch
}
