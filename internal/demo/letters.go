package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/deadletters"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

// lateness is how much later than a letter says it may be in its topic.
const lateness = 10 * time.Minute

// Letters replays the dead letters of a demonstration's orders, as an operator
// would once the authoriser is well again. Letters of other orders are not its
// own to replay.
type Letters struct {
	Kafka      kafka.Config
	Instrument *otelkafka.Instrumentation

	seen time.Time // letters that were set aside before are done
}

// Replay replays the letters that were set aside before a time, and returns how
// many.
func (l *Letters) Replay(ctx context.Context, before time.Time) (n int, err error) {
	client, err := kafka.Connect(ctx, l.Kafka)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	source := deadletters.Source{Log: kafka.Cluster{Config: l.Kafka, Client: client}, Topics: client.Topics}
	listing, err := source.List(ctx, deadletters.Filter{
		Group: banking.GroupPaiement, Reason: string(delivery.ReasonAuthoriser), After: l.seen, Before: before, Open: true,
	}, nil)
	if err != nil {
		return 0, err
	}
	own, err := ours(ctx, source, listing.Letters)
	if err != nil {
		return 0, err
	}
	if len(own) > 0 {
		if n, err = l.replay(ctx, source, own); err != nil {
			return n, err
		}
	}
	l.seen = before.Add(-lateness)
	return n, nil
}

// ours are the letters that hold an order of a demonstration's user.
func ours(ctx context.Context, source deadletters.Source, letters []deadletters.Letter) ([]deadletters.Letter, error) {
	if len(letters) == 0 {
		return nil, nil
	}
	var mu sync.Mutex
	var own []deadletters.Letter
	err := source.Open(ctx, letters, func(w deadletters.Whole) error {
		event, err := delivery.DecodeAs[banking.OrderCreated](record.Record{Place: w.Origin, Key: w.RecordKey, Value: w.Value, Headers: w.Headers})
		if err != nil || !strings.HasPrefix(event.UserID, UserPrefix) {
			return nil // what is no order is not ours
		}
		mu.Lock()
		defer mu.Unlock()
		own = append(own, letters[slices.IndexFunc(letters, func(l deadletters.Letter) bool { return l.ID == w.ID })])
		return nil
	})
	return own, err
}

func (l *Letters) replay(ctx context.Context, source deadletters.Source, letters []deadletters.Letter) (n int, err error) {
	publisher, err := kafka.NewPublisher(ctx, l.Kafka)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, publisher.Close()) }()
	var failed []error
	err = deadletters.Resolver{Source: source, Publisher: publisher, Instrument: l.Instrument}.Replay(ctx, letters, func(o deadletters.Outcome) {
		if o.Err == nil {
			n++
		} else {
			failed = append(failed, fmt.Errorf("%s: %w", o.Letter.ID, o.Err))
		}
	})
	return n, errors.Join(append(failed, err)...)
}
