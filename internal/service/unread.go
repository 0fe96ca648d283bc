package service

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

// unreadInterval is how soon partitions are noticed that nobody of ours reads.
const unreadInterval = 5 * time.Second

// unreadMetric counts the partitions that no instance of the service reads.
const unreadMetric = "kafka_consumer_unread_partitions"

// ConsumerCatalogue returns the metrics that services add which consume.
func ConsumerCatalogue() telemetry.Catalogue {
	return telemetry.Catalogue{{
		Name: unreadMetric, Kind: telemetry.Gauge, Labels: []string{"topic"}, Bound: "topics the service reads", MaxSeries: 5,
		Help: "Partitions that no instance of the service reads: just added, or given to a stranger in its consumer group.",
	}}
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
