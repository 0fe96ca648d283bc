package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/fault"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

// LoopConfig is what a service says about its consumer.
type LoopConfig struct {
	Group  string
	Topics []string
	// DeadLetters names the topic where a topic's failed records are set
	// aside; "" has them counted, logged and passed over.
	DeadLetters func(topic string) string
	// Concurrency is how many records of a batch are handled at once.
	Concurrency int
	// BatchSize is the most records in one storage transaction.
	BatchSize int
}

// Deps is what the loop stands on.
type Deps struct {
	Kafka      kafka.Config
	Control    sarama.Client // for offsets; shared
	Publisher  BatchPublisher
	Store      *storage.Store
	Instrument *otelkafka.Instrumentation
	Failures   *otelkafka.Failures
	Lag        *otelkafka.Lag
	Rebalances *otelkafka.Rebalances
	Log        *slog.Logger
	Fault      *fault.Injector
}

// BatchPublisher is what the loop needs of a [kafka.Publisher].
type BatchPublisher interface {
	// PublishAll sends records in order and returns when Kafka has them all.
	PublishAll(ctx context.Context, records []*sarama.ProducerMessage) error
}

// Loop consumes a group's records: batch, handler, one storage transaction,
// publish, mark, commit. Storage's position decides where it goes on; the
// group's offset in Kafka follows.
type Loop[State, Change any] struct {
	cfg     LoopConfig
	deps    Deps
	handler Handler[State, Change]
	client  sarama.Client
	group   sarama.ConsumerGroup
	errors  sync.WaitGroup
	joined  atomic.Bool
	starts  sync.Map // record.Partition → int64, from Setup to ConsumeClaim
}

// NewLoop connects a consumer; [Loop.Run] starts it.
func NewLoop[State, Change any](cfg LoopConfig, deps Deps, handler Handler[State, Change]) (*Loop[State, Change], error) {
	client, err := deps.Kafka.ConnectConsumer()
	if err != nil {
		return nil, fmt.Errorf("connect consumer: %w", err)
	}
	group, err := sarama.NewConsumerGroupFromClient(cfg.Group, client)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make consumer group %s: %w", cfg.Group, err), client.Close())
	}
	l := &Loop[State, Change]{cfg: cfg, deps: deps, handler: handler, client: client, group: group}
	l.errors.Go(func() {
		for err := range group.Errors() {
			deps.Log.Warn("consumer group error", "group", cfg.Group, "error", err)
		}
	})
	return l, nil
}

// Run consumes until ctx ends, which it answers by finishing the batches under
// way. It goes on through rebalances and brokers that go away; what it returns
// is a state that waiting cannot mend, such as [ErrLogMismatch].
func (l *Loop[State, Change]) Run(ctx context.Context) error {
	wait := retryBackoff()
	for ctx.Err() == nil {
		err := l.group.Consume(ctx, l.cfg.Topics, l)
		switch {
		case ctx.Err() != nil, errors.Is(err, sarama.ErrClosedConsumerGroup):
			return nil //nolint:nilerr // being told to stop is no failure
		case errors.Is(err, ErrLogMismatch):
			return err
		case err != nil:
			l.deps.Log.WarnContext(ctx, "consumer group lost, joining again", "group", l.cfg.Group, "error", err)
			_ = lifecycle.Sleep(ctx, wait.NextBackOff()) // the loop's condition looks at ctx
		default: // a rebalance
			wait.Reset()
		}
	}
	return nil
}

// Close leaves the group and ends the connections. Run has returned by then.
func (l *Loop[State, Change]) Close() error {
	if err := l.group.Close(); err != nil {
		// The brokers will find out by themselves; nothing is lost by it.
		l.deps.Log.Warn("left the consumer group without saying so", "group", l.cfg.Group, "error", err)
	}
	l.errors.Wait()
	return l.client.Close()
}

// CheckJoined is a readiness check: it fails until the group has given this
// member its first assignment.
func (l *Loop[State, Change]) CheckJoined(context.Context) error {
	if !l.joined.Load() {
		return fmt.Errorf("waiting to join %s", l.cfg.Group)
	}
	return nil
}

// ConsumeClaim processes one partition until the session ends.
func (l *Loop[State, Change]) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	p := record.Partition{Topic: claim.Topic(), ID: claim.Partition()}
	start, ok := l.starts.Load(p)
	if !ok {
		return fmt.Errorf("claim of %s without a start", p)
	}
	w := &worker[State, Change]{
		loop: l, partition: p, next: start.(int64), published: -1,
		commit: func(next int64) { session.MarkOffset(p.Topic, p.ID, next, "") },
	}
	return w.run(session.Context(), claim.Messages())
}
