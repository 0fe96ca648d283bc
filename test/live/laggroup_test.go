//go:build integration && unix

package live_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/testenv/kafka"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// TestLagOfTheLibrarysConsumersAgreesWithKafka checks what the library's own members and consumers show, by their marks alone,
// against what Kafka's admin API says of the same group.
func TestLagOfTheLibrarysConsumersAgreesWithKafka(t *testing.T) {
	broker := kafka.Start(t)
	for name, strategy := range map[string]sarama.BalanceStrategy{
		"eager": sarama.NewBalanceStrategyRange(), "cooperative": sarama.NewBalanceStrategyCooperativeSticky(),
	} {
		for kind := range handlersOf(nil, nil) {
			t.Run(name+"-"+kind, func(t *testing.T) { livesByItsMarks(onTopic(t, broker, name+"-"+kind), kind, strategy) })
		}
	}
	t.Run("two groups", func(t *testing.T) { hasTwoGroups(onTopic(t, broker, "two-groups")) })
	t.Run("without a group", func(t *testing.T) { readsPartitions(onTopic(t, broker, "without-a-group")) })
	t.Run("many partitions", func(t *testing.T) { hasManyPartitions(t, broker) })
}

// handlersOf are the ways to handle records. Each waits for the gate before a record, or a batch, is done.
func handlersOf(i *otelkafka.Instrumentation, gate <-chan struct{}) map[string]sarama.ConsumerGroupHandler {
	pass := func(ctx context.Context) error {
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return map[string]sarama.ConsumerGroupHandler{
		"records": otelkafka.NewHandler(i, func(ctx context.Context, _ sarama.ConsumerGroupSession, _ *sarama.ConsumerMessage) error {
			return pass(ctx)
		}),
		"batches": otelkafka.NewBatchHandler(i, 3, func(ctx context.Context, _ sarama.ConsumerGroupSession, _ []*sarama.ConsumerMessage) error {
			return pass(ctx)
		}),
		"own": ownHandler{pass},
	}
}

// ownHandler is a handler as sarama's documentation has it, that knows nothing of the library.
type ownHandler struct {
	pass func(ctx context.Context) error
}

func (ownHandler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (ownHandler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h ownHandler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for msg := range claim.Messages() {
		if err := h.pass(session.Context()); err != nil {
			return err
		}
		session.MarkMessage(msg, "")
	}
	return nil
}

// marker is a member of the library's, and the page of its process.
type marker struct {
	*otelkafka.ConsumerGroup
	page  *telemetrytest.Recorder
	group string
	gate  chan struct{} // closed, it lets all through
	leave func()
}

// joinByMarks has a member of the library's join, with a page that others may share.
func (k *lagKafka) joinByMarks(page *telemetrytest.Recorder, group, kind string, strategy sarama.BalanceStrategy) *marker {
	t := k.t
	t.Helper()
	config := lagConfig()
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	config.Consumer.Offsets.AutoCommit.Interval = lagPoll
	config.Consumer.Group.Rebalance.Timeout = 10 * time.Second // a cooperative one waits so long for a handler that is stuck
	inst, err := otelkafka.New(otelkafka.WithTelemetry(page.Telemetry), otelkafka.Options{ConsumerGroup: group, Consumes: []string{k.topic}})
	if err != nil {
		t.Fatal(err)
	}
	m := &marker{page: page, group: group, gate: make(chan struct{})}
	if m.ConsumerGroup, err = otelkafka.NewConsumerGroup([]string{k.Address()}, group, config, inst); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var consuming sync.WaitGroup
	consuming.Go(func() {
		for ctx.Err() == nil {
			if err := m.Consume(ctx, []string{k.topic}, handlersOf(inst, m.gate)[kind]); err != nil && ctx.Err() == nil {
				t.Logf("consume %s: %v", k.topic, err)
			}
		}
	})
	m.leave = sync.OnceFunc(func() {
		cancel()
		consuming.Wait()
		if err := m.Close(); err != nil {
			t.Errorf("leave group %s: %v", group, err)
		}
	})
	t.Cleanup(m.leave)
	return m
}

// records is the lag on the page, by partition.
func (m *marker) records(t *testing.T) map[int32]float64 {
	t.Helper()
	return onPage(t, m.page, catalogue.KafkaConsumerLag, m.group)
}

// livesByItsMarks takes a group through its life: behind, caught up, restarted, shared.
func livesByItsMarks(k *lagKafka, kind string, strategy sarama.BalanceStrategy) {
	t, group := k.t, k.topic+"-group"
	page := func() *telemetrytest.Recorder { return telemetrytest.New(t, "lag", nil) }
	k.produce(5)
	first := k.joinByMarks(page(), group, kind, strategy)
	k.agree("behind from the start", group, first)
	if err := same(first.records(t), each(5)); err != nil {
		t.Errorf("behind from the start: %v", err)
	}
	first.gate <- struct{}{}
	k.agree("a little further", group, first)
	close(first.gate)
	settles(t, "caught up", func() error {
		return errors.Join(same(first.records(t), each(0)), same(k.lag(group), each(0)))
	})
	if !first.CaughtUp() {
		t.Error("not caught up")
	}
	first.leave()
	if left := first.records(t); len(left) != 0 {
		t.Errorf("after leaving, the page has %v", left)
	}

	second := k.joinByMarks(page(), group, kind, strategy)
	settles(t, "restarted", func() error {
		own := second.records(t)
		for partition, lag := range own {
			if lag != 0 {
				t.Fatalf("a group that was caught up restarts with %v in partition %d", lag, partition)
			}
		}
		return same(own, each(0))
	})
	k.produce(4)
	third := k.joinByMarks(page(), group, kind, strategy)
	k.agree("shared by two that are stuck", group, second, third)
	close(third.gate)
	k.agree("one of two goes on", group, second, third)
	third.leave()
	k.agree("alone again", group, second)
	close(second.gate)
	settles(t, "all processed", func() error {
		return errors.Join(same(second.records(t), each(0)), same(k.lag(group), each(0)))
	})
}

// hasTwoGroups has both on one page, each with its own lag.
func hasTwoGroups(k *lagKafka) {
	t, page := k.t, telemetrytest.New(k.t, "lag", nil)
	k.produce(6)
	stuck := k.joinByMarks(page, "stuck-group", "records", sarama.NewBalanceStrategyRange())
	done := k.joinByMarks(page, "done-group", "batches", sarama.NewBalanceStrategyRange())
	close(done.gate)
	settles(t, "one of two is done", func() error {
		return errors.Join(same(stuck.records(t), each(6)), same(done.records(t), each(0)))
	})
	k.agree("of the group that is stuck", stuck.group, stuck)
	k.agree("of the group that is done", done.group, done)
	stuck.leave()
	if err := errors.Join(same(stuck.records(t), map[int32]float64{}), same(done.records(t), each(0))); err != nil {
		t.Errorf("after one left: %v", err)
	}
}

// readsPartitions has no group: lag is the log's end less what was read.
func readsPartitions(k *lagKafka) {
	t, page := k.t, telemetrytest.New(k.t, "lag", nil)
	inst, err := otelkafka.New(otelkafka.WithTelemetry(page.Telemetry))
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := otelkafka.NewConsumer([]string{k.Address()}, lagConfig(), inst)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = consumer.Close() }()
	k.produce(5)
	for partition := range int32(lagPartitions) {
		p, err := consumer.Partition(k.topic, partition, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = p.Close() }() //nolint:revive // of three partitions
		read := 0
		for range p.Records(t.Context()) {
			if read++; read == 2 {
				break
			}
		}
	}
	settles(t, "two of four are read", func() error { return same(onPage(t, page, catalogue.KafkaConsumerLag, ""), each(2)) })
	k.produce(3)
	settles(t, "three more", func() error { return same(onPage(t, page, catalogue.KafkaConsumerLag, ""), each(5)) })
}

// hasManyPartitions has more than a page shows: what it shows is right, and the rest is counted.
func hasManyPartitions(t *testing.T, broker *kafka.Broker) {
	const partitions, shown = 2000, 1500
	k := &lagKafka{Broker: broker, t: t, topic: "many"}
	var err error
	if k.admin, err = sarama.NewClusterAdmin([]string{broker.Address()}, lagConfig()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.admin.Close() })
	if err := k.admin.CreateTopic(k.topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false); err != nil {
		t.Fatal(err)
	}
	config := lagConfig()
	config.Producer.Retry.Max, config.Metadata.Retry.Max = 600, 600 // a tenth of a second each: Kafka makes 2,000 logs meanwhile
	if k.producer, err = sarama.NewSyncProducer([]string{broker.Address()}, config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.producer.Close() })
	k.produce(2) // in the first three
	m := k.joinByMarks(telemetrytest.New(t, "lag", nil), "many-group", "records", sarama.NewBalanceStrategyRange())
	want := make(map[int32]float64)
	for partition := range int32(shown) {
		want[partition] = 0
	}
	for partition := range int32(lagPartitions) {
		want[partition] = 2
	}
	settles(t, "1,500 of 2,000 partitions", func() error {
		got := m.records(t)
		if len(got) != shown {
			return fmt.Errorf("%d partitions are on the page", len(got))
		}
		if omitted := m.page.Metric(catalogue.KafkaConsumerLagOmitted, nil); omitted != partitions-shown {
			return fmt.Errorf("%v partitions are said to be left out", omitted)
		}
		for partition, lag := range got { // which partitions is for the order of assignment to say
			if expected := want[partition]; lag != expected {
				return fmt.Errorf("partition %d has %v, want %v", partition, lag, expected)
			}
		}
		return nil
	})
}
