package service

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

// Consume adds the service's consumer: the loop of its group and topics, with
// the handler. Group, topics and dead letters come from the definition; a service that
// produces nothing sets nothing aside.
func Consume[State, Change any](ctx context.Context, b *Base, cfg delivery.LoopConfig, handler delivery.Handler[State, Change]) error {
	_, err := ConsumeTracked(ctx, b, cfg, handler)
	return err
}

// ConsumeTracked is [Consume] for services that want to know how far they are.
func ConsumeTracked[State, Change any](ctx context.Context, b *Base, cfg delivery.LoopConfig, handler delivery.Handler[State, Change]) (*Progress, error) {
	cfg.Group, cfg.Topics, cfg.DeadLetters = b.Definition.Group, b.Definition.Consumes, banking.DeadLetterTopic
	var publisher delivery.BatchPublisher // nil: nothing is sent
	if len(b.Definition.Produces) > 0 {
		sending, err := b.Publisher(ctx, batchLinger)
		if err != nil {
			return nil, err
		}
		publisher = sending
	} else {
		cfg.DeadLetters = func(string) string { return "" }
	}
	lag, err := otelkafka.NewLag(b.Instrument, b.Control, otelkafka.DefaultLagInterval)
	if err != nil {
		return nil, fmt.Errorf("watch lag: %w", err)
	}
	b.Stack.OnStop("lag", func(context.Context) error { return lag.Close() })
	b.Stack.Go("lag poll", func(ctx context.Context) error { lag.Run(ctx); return nil })
	rebalances, err := otelkafka.NewRebalances(b.Instrument)
	if err != nil {
		return nil, err
	}
	b.Stack.OnStop("rebalances", func(context.Context) error { return rebalances.Close() })
	failures, err := otelkafka.NewFailures(b.Instrument, cfg.Topics, delivery.Reasons())
	if err != nil {
		return nil, err
	}
	loop, err := delivery.NewLoop(ctx, cfg, delivery.Deps{
		Kafka: b.Kafka, Control: b.Control, Topics: b.Topics, Publisher: publisher, Sizes: kafka.NewSizes(b.Control), Store: b.Store,
		Instrument: b.Instrument, Failures: failures, Lag: lag, Rebalances: rebalances,
		Log: b.Log, Fault: b.Fault,
	}, handler)
	if err != nil {
		return nil, err
	}
	b.Stack.OnStop("consumer connections", func(context.Context) error { return loop.Close() })
	if err := b.showClient("consumer", loop.Metrics()); err != nil {
		return nil, err
	}
	b.Stack.Go("consumer", loop.Run)
	b.Ready.Add("consumer", loop.CheckJoined)
	if err := watchUnread(b); err != nil {
		return nil, err
	}
	if err := countCommits(b); err != nil {
		return nil, err
	}
	progress := &Progress{joined: loop.CheckJoined, lag: lag, store: b.Store, holds: b.Control.Holds}
	if b.Store.Shared() {
		progress.missed, err = kafka.Bounds(ctx, b.Control, cfg.Topics...)
	}
	return progress, err
}

// batchLinger is long enough for all that a batch causes, and what other partitions'
// batches cause at the same time, to go out in one request.
const batchLinger = time.Millisecond

// Publisher connects what sends records to the topics that the service produces, until the
// service stops. It gathers records for so long before it sends them, as [kafka.Config] says.
// Whether Kafka takes them is a part of readiness.
func (b *Base) Publisher(ctx context.Context, linger time.Duration) (*kafka.Publisher, error) {
	took, err := b.timer(kafkaPublish)
	if err != nil {
		return nil, err
	}
	cfg := b.Kafka
	cfg.Linger = linger
	publisher, err := kafka.NewPublisher(ctx, cfg, b.Definition.Produces...)
	if err != nil {
		return nil, err
	}
	publisher.Took = took
	b.Stack.OnStop("publisher", func(context.Context) error { return publisher.Close() })
	b.Ready.Add("writes to kafka", publisher.Check)
	if err := b.showClient("producer", publisher.Metrics()); err != nil {
		return nil, err
	}
	return publisher, nil
}

// showClient puts on the page what sarama measures of one of the service's connections.
func (b *Base) showClient(name string, measured metrics.Registry) error {
	hide, err := otelkafka.ObserveSarama(b.Instrument, name, measured)
	if err != nil {
		return err
	}
	b.Stack.OnStop("metrics of the "+name, func(context.Context) error { return hide() })
	return nil
}

// Progress says how far a consumer is.
type Progress struct {
	joined func(context.Context) error
	lag    *otelkafka.Lag
	store  *storage.Store
	missed []kafka.Span // what was in the log at the start; none for who is alone, whose lag says it all
	passed atomic.Bool  // storage has all of it
	// holds says whether a record stands in a span, as [kafka.Client.Holds].
	holds func(context.Context, kafka.Span) (bool, error)
}

// CatchingUp says whether the service still reads what it missed: records that
// were in the log when this instance started, whichever instance reads them, or
// when it was given its partitions.
func (p *Progress) CatchingUp(ctx context.Context) bool {
	return p.joined(ctx) != nil || !p.lag.CaughtUp() || !p.read(ctx)
}

// read says whether storage has come to where the log ended, but for what is no
// record: a transaction's marker never moves a position.
func (p *Progress) read(ctx context.Context) bool {
	if p.passed.Load() {
		return true
	}
	for _, span := range p.missed {
		next, known, err := p.store.Position(ctx, span.Partition)
		if err != nil {
			return false
		}
		if known {
			span.Start = max(span.Start, next)
		}
		if span.Start >= span.End {
			continue
		}
		if held, err := p.holds(ctx, span); err != nil || held {
			return false
		}
	}
	p.passed.Store(true)
	return true
}

// unreadInterval is how soon partitions are noticed that nobody of ours reads.
const unreadInterval = 5 * time.Second

// countCommits has a scrape read how often the storage was written to.
func countCommits(b *Base) error {
	registration, err := b.Telemetry.Instruments().Observe([]string{commitsMetric}, func(_ context.Context, o telemetry.Observation) error {
		o.Counter(commitsMetric, b.Store.Commits())
		return nil
	})
	if err != nil {
		return fmt.Errorf("count commits: %w", err)
	}
	b.Stack.OnStop("count of commits", func(context.Context) error { return registration.Unregister() })
	return nil
}

// unread watches for partitions that no instance of the service reads. A
// consumer knows its own alone: without this, they would be no one's lag.
type unread struct {
	b      *Base
	find   func() (unread []record.Partition, settled bool, err error)
	lag    *otelkafka.Lag // theirs
	mu     sync.Mutex
	counts map[string]int64          // by topic
	known  map[record.Partition]bool // of run alone
}

// watchUnread starts the watch.
func watchUnread(b *Base) error {
	lag, err := otelkafka.NewLag(b.Instrument, b.Control, otelkafka.DefaultLagInterval)
	if err != nil {
		return fmt.Errorf("watch unread partitions: %w", err)
	}
	u := &unread{b: b, lag: lag, find: func() ([]record.Partition, bool, error) {
		return kafka.Unread(b.Control, b.Definition.Group, b.Definition.Consumes)
	}}
	return u.watch()
}

func (u *unread) watch() error {
	stack := u.b.Stack
	stack.OnStop("lag of unread partitions", func(context.Context) error { return u.lag.Close() })
	stack.Go("lag poll of unread partitions", func(ctx context.Context) error { u.lag.Run(ctx); return nil })
	registration, err := u.b.Telemetry.Instruments().Int64ObservableGauge(unreadMetric, u.observe)
	if err != nil {
		return fmt.Errorf("watch unread partitions: %w", err)
	}
	stack.OnStop("unread partitions", func(context.Context) error { return registration.Unregister() })
	stack.Go("unread partitions", u.run)
	return nil
}

func (u *unread) observe(_ context.Context, o metric.Int64Observer) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, topic := range u.b.Definition.Consumes {
		o.Observe(u.counts[topic], metric.WithAttributeSet(attribute.NewSet(attribute.String("topic", topic))))
	}
	return nil
}

// run looks in intervals, until ctx ends.
func (u *unread) run(ctx context.Context) error {
	return lifecycle.Every(ctx, unreadInterval, func(ctx context.Context) error { u.look(ctx); return nil })
}

// look finds what is unread now. What cannot be known stays as it was.
func (u *unread) look(ctx context.Context) {
	found, settled, err := u.find()
	if err != nil || !settled {
		u.b.Log.DebugContext(ctx, "unread partitions cannot be looked for", "error", err)
		return
	}
	now, counts := map[record.Partition]bool{}, map[string]int64{}
	for _, p := range found {
		now[p] = true
		counts[p.Topic]++
		if !u.known[p] {
			u.b.Log.WarnContext(ctx, "no instance of this service reads a partition", "topic", p.Topic, "partition", p.ID, "group", u.b.Definition.Group)
			u.lag.Assign(p.Topic, p.ID, u.next(ctx, p))
		}
	}
	for p := range u.known {
		if !now[p] {
			u.b.Log.InfoContext(ctx, "the partition is read again", "topic", p.Topic, "partition", p.ID)
			u.lag.Revoke(p.Topic, p.ID)
		}
	}
	u.known = now
	u.mu.Lock()
	defer u.mu.Unlock()
	u.counts = counts
}

// next is where the partition would be read on.
func (u *unread) next(ctx context.Context, p record.Partition) int64 {
	next, known, err := u.b.Store.Position(ctx, p)
	if err != nil || !known {
		return sarama.OffsetOldest
	}
	return next
}
