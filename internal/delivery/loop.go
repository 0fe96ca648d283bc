// Package delivery is the one loop by which a consumer turns records into
// stored state and further records without losing or repeating any. It exists
// so that this promise is kept, and tested, in one place for all services.
//
// loop.go has what a service gives and gets, and where partitions begin;
// feed.go sees to it that a partition's records come, or that it is told that they
// cannot; worker.go follows a record through the loop until it is stored, publish.go
// from there on, until Kafka has what it caused; batch.go says what is processed
// together, and when; failure.go says what becomes of a record that cannot be
// processed, and how to wait where waiting helps; messages.go turns records into events
// and back, with their trace, and makes none larger than its topic takes.
package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"

	"github.com/vigie-dev/vigie/internal/fault"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/retry"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

// Handler is what one service does with its records. The loop calls the steps
// in this order for every batch; a batch has each key at most once, and all
// of its records come from one partition.
//
// State is what the batch's decisions need to know, Change what one record
// changes.
type Handler[State, Change any] interface {
	// Load reads what deciding the batch needs, outside any transaction.
	Load(ctx context.Context, batch []record.Record) (State, error)
	// Handle decides one record: what changes and what is published. It
	// changes nothing itself, so that it can be repeated, and may be called
	// for several records of a batch at once. Its error has a [Class].
	Handle(ctx context.Context, state State, r record.Record) (Change, []record.Message, error)
	// Store stores the batch's changes inside the transaction that also
	// stores the outgoing messages and the offset.
	Store(ctx context.Context, tx *storage.Tx, decided []Decided[Change]) error
	// Stored is called once the changes are stored for good: the place for
	// business metrics and logs.
	Stored(decided []Decided[Change])
}

// Decided is one record's decision.
type Decided[Change any] struct {
	// Context carries the record's process span.
	Context context.Context
	Record  record.Record
	Change  Change
}

// LoopConfig is what a service says about its consumer.
type LoopConfig struct {
	Group  string
	Topics []string
	// DeadLetters names the topic where a topic's failed records are set
	// aside; "" has them counted, logged and skipped.
	DeadLetters func(topic string) string
	// Concurrency is how many records of a batch are handled at once.
	Concurrency int
	// BatchSize is the most records in one storage transaction. Default
	// [DefaultBatchSize].
	BatchSize int
}

// DefaultBatchSize makes a transaction's cost small beside its records', and
// keeps it short.
const DefaultBatchSize = 500

// Deps is what the loop stands on.
type Deps struct {
	Kafka      kafka.Config
	Control    *kafka.Client   // for offsets; shared
	Topics     *kafka.Identity // of the topics that storage's positions are of
	Publisher  BatchPublisher
	Sizes      *kafka.Sizes // of the dead letters' topics
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
	still   time.Duration // as stillFor
	pace    pace          // of all partitions' workers
	errors  sync.WaitGroup
	joined  atomic.Bool
	broken  atomic.Pointer[error] // what ended a claim for good: see final
	starts  sync.Map              // record.Partition → int64, from Setup to ConsumeClaim
}

// NewLoop connects a consumer; [Loop.Run] starts it.
func NewLoop[State, Change any](ctx context.Context, cfg LoopConfig, deps Deps, handler Handler[State, Change]) (*Loop[State, Change], error) {
	cfg.BatchSize = cmp.Or(cfg.BatchSize, DefaultBatchSize)
	client, err := deps.Kafka.ConnectConsumer(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect consumer: %w", err)
	}
	group, err := sarama.NewConsumerGroupFromClient(cfg.Group, client)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make consumer group %s: %w", cfg.Group, err), client.Close())
	}
	l := &Loop[State, Change]{cfg: cfg, deps: deps, handler: handler, client: client, group: group, still: stillFor}
	l.errors.Go(func() {
		for err := range group.Errors() {
			deps.Log.WarnContext(ctx, "consumer group error", "group", cfg.Group, "error", err)
		}
	})
	return l, nil
}

// Run consumes until ctx ends; then it finishes the batches under way. It goes
// on through rebalances and brokers that go away; what it returns is a state
// that waiting cannot change, such as [ErrLogMismatch] or [storage.ErrDamaged].
func (l *Loop[State, Change]) Run(ctx context.Context) error {
	lost := away(func(err error, _ time.Duration) {
		l.deps.Log.WarnContext(ctx, "consumer group lost, joining again", "group", l.cfg.Group, "error", err)
	})
	for ctx.Err() == nil {
		err := lost.Do(ctx, func() error {
			err := l.group.Consume(ctx, l.cfg.Topics, l) // nil: a rebalance
			if broken := l.broken.Load(); broken != nil {
				return retry.Stop(*broken)
			}
			if errors.Is(err, sarama.ErrClosedConsumerGroup) || errors.Is(err, ErrLogMismatch) || errors.Is(err, kafka.ErrReplaced) || errors.Is(err, storage.ErrDamaged) {
				return retry.Stop(err)
			}
			return err
		})
		switch {
		case ctx.Err() != nil, errors.Is(err, sarama.ErrClosedConsumerGroup):
			return nil //nolint:nilerr // a request to stop is no failure
		case err != nil:
			return err
		}
	}
	return nil
}

// Close leaves the group and ends the connections. Run has returned by then.
func (l *Loop[State, Change]) Close() error {
	if err := l.group.Close(); err != nil {
		// The brokers will find out by themselves; nothing is lost by it.
		l.deps.Log.Warn("could not leave the consumer group; the brokers will notice", "group", l.cfg.Group, "error", err)
	}
	l.errors.Wait()
	return l.client.Close()
}

// Metrics is where sarama measures the consumer's connections and requests.
func (l *Loop[State, Change]) Metrics() metrics.Registry { return l.client.Config().MetricRegistry }

// CheckJoined is a readiness check: it fails until the group has given this
// member its first assignment.
func (l *Loop[State, Change]) CheckJoined(context.Context) error {
	if !l.joined.Load() {
		return fmt.Errorf("waiting to join %s", l.cfg.Group)
	}
	return nil
}

// ErrLogMismatch: storage's position does not fit the partition's log. Records
// would be skipped or processed again, so nothing is processed at all.
var ErrLogMismatch = errors.New("storage and log do not fit")

// Setup sets every assigned partition to storage's position before the first
// record arrives, if the topics are still those that storage was made for.
func (l *Loop[State, Change]) Setup(session sarama.ConsumerGroupSession) error {
	if err := l.deps.Rebalances.Setup(session); err != nil {
		return err
	}
	ctx := session.Context()
	if err := l.deps.Topics.Check(); err != nil {
		return fmt.Errorf("check topics: %w", err)
	}
	committed, err := l.committed(session.Claims())
	if err != nil {
		return err
	}
	for topic, ids := range session.Claims() {
		for _, id := range ids {
			p := record.Partition{Topic: topic, ID: id}
			next, err := l.start(ctx, p, committed.GetBlock(topic, id))
			if err != nil {
				return fmt.Errorf("assign %s: %w", p, err)
			}
			// One of the two applies, whichever way Kafka's offset differs.
			session.ResetOffset(topic, id, next, l.deps.Topics.Stamp())
			session.MarkOffset(topic, id, next, l.deps.Topics.Stamp())
			l.starts.Store(p, next)
			l.deps.Lag.Assign(topic, id, next)
		}
	}
	l.joined.Store(true)
	l.deps.Log.Debug("partitions assigned", "group", l.cfg.Group, "claims", session.Claims())
	return nil
}

// Cleanup forgets the partitions: their lag is another's to report.
func (l *Loop[State, Change]) Cleanup(session sarama.ConsumerGroupSession) error {
	for topic, ids := range session.Claims() {
		for _, id := range ids {
			l.deps.Lag.Revoke(topic, id)
			l.starts.Delete(record.Partition{Topic: topic, ID: id})
		}
	}
	return l.deps.Rebalances.Cleanup(session)
}

// committed returns the group's offsets in Kafka.
func (l *Loop[State, Change]) committed(claims map[string][]int32) (*sarama.OffsetFetchResponse, error) {
	admin, err := sarama.NewClusterAdminFromClient(l.deps.Control) // not closed: the client is shared
	if err != nil {
		return nil, fmt.Errorf("read the group's offsets: %w", err)
	}
	offsets, err := admin.ListConsumerGroupOffsets(l.cfg.Group, claims)
	if err != nil {
		return nil, fmt.Errorf("read the group's offsets: %w", err)
	}
	return offsets, nil
}

// start finds where to go on, checks it against the log and the group's
// offset, and stores the log's start for a partition that is new here.
func (l *Loop[State, Change]) start(ctx context.Context, p record.Partition, committed *sarama.OffsetFetchResponseBlock) (int64, error) {
	oldest, err := l.deps.Control.GetOffset(p.Topic, p.ID, sarama.OffsetOldest)
	if err != nil {
		return 0, fmt.Errorf("read the log's start: %w", err)
	}
	next, known, err := l.deps.Store.Position(ctx, p)
	if err != nil {
		return 0, err
	}
	// After the position, which the partition's last owner may still move: an
	// end that is older would seem to lie before it.
	end, err := l.deps.Control.GetOffset(p.Topic, p.ID, sarama.OffsetNewest)
	switch {
	case err != nil:
		return 0, fmt.Errorf("read the log's end: %w", err)
	case !known:
		return oldest, l.deps.Store.StartAt(ctx, p, oldest)
	case next < oldest:
		return 0, fmt.Errorf("%w: records %d to %d were deleted before they were processed", ErrLogMismatch, next, oldest-1)
	case next > end:
		return 0, fmt.Errorf("%w: storage has processed %d records, the log has %d", ErrLogMismatch, next, end)
	case committed == nil || committed.Offset <= next:
	case kafka.IsOurs(committed.Metadata):
		// The group's offset follows storage. It can only be ahead of a
		// storage that has gone back: an older copy.
		return 0, fmt.Errorf("%w: storage has processed %d records, the group has committed %d", ErrLogMismatch, next, committed.Offset)
	default:
		l.deps.Log.WarnContext(ctx, "somebody else has committed an offset for this group; it is put right, and no record is left out",
			"group", l.cfg.Group, "topic", p.Topic, "partition", p.ID, "offset", committed.Offset, "processed", next)
	}
	return next, nil
}

// ConsumeClaim processes one partition until the session ends.
func (l *Loop[State, Change]) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	p := record.Partition{Topic: claim.Topic(), ID: claim.Partition()}
	start, ok := l.starts.Load(p)
	if !ok {
		return fmt.Errorf("claim of %s without a start", p)
	}
	stamp := l.deps.Topics.Stamp()
	w := &worker[State, Change]{
		loop: l, partition: p, grace: grace, next: start.(int64), published: -1,
		commit: func(next int64) { session.MarkOffset(p.Topic, p.ID, next, stamp) },
	}
	err := w.consumeClaim(session.Context(), claim.Messages())
	if errors.Is(err, kafka.ErrUnreadable) || errors.Is(err, ErrLogMismatch) || errors.Is(err, kafka.ErrReplaced) || errors.Is(err, kafka.ErrTooLarge) || errors.Is(err, storage.ErrDamaged) || errors.Is(err, storage.ErrOutOfRange) {
		l.broken.Store(&err) // sarama only logs it, and would come again
	}
	return err
}
