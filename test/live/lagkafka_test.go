//go:build integration && unix

package live_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/testenv/kafka"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

const lagPartitions = 3

// lagKafka is a broker, what its administrator sees of it, and a topic.
type lagKafka struct {
	*kafka.Broker
	t        *testing.T
	admin    sarama.ClusterAdmin
	producer sarama.SyncProducer
	topic    string
}

func lagConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Group.Heartbeat.Interval = 200 * time.Millisecond
	config.Consumer.Group.Session.Timeout = time.Minute // no member is taken for dead
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	return config
}

func onTopic(t *testing.T, broker *kafka.Broker, topic string) *lagKafka {
	t.Helper()
	k := &lagKafka{Broker: broker, t: t, topic: topic}
	var err error
	if k.admin, err = sarama.NewClusterAdmin([]string{broker.Address()}, lagConfig()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.admin.Close() })
	if err := k.admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: lagPartitions, ReplicationFactor: 1}, false); err != nil {
		t.Fatal(err)
	}
	if k.producer, err = sarama.NewSyncProducer([]string{broker.Address()}, lagConfig()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.producer.Close() })
	return k
}

func (k *lagKafka) join(group string, changes ...func(*sarama.Config)) *member {
	k.t.Helper()
	config := lagConfig()
	for _, change := range changes {
		change(config)
	}
	return join(k.t, config, k.Address(), group, k.topic)
}

// produce appends n records to each partition.
func (k *lagKafka) produce(n int) { k.t.Helper(); k.send(k.producer, n) }

func (k *lagKafka) send(producer sarama.SyncProducer, n int) {
	k.t.Helper()
	for i := range n * lagPartitions {
		msg := &sarama.ProducerMessage{Topic: k.topic, Partition: int32(i % lagPartitions), Value: sarama.StringEncoder("v")}
		if _, _, err := producer.SendMessage(msg); err != nil {
			k.t.Fatal(err)
		}
	}
}

// offsets reads from Kafka where all partitions end or start.
func (k *lagKafka) offsets(at int64) map[int32]int64 {
	k.t.Helper()
	times := map[string]map[int32]int64{k.topic: {}}
	for partition := range int32(lagPartitions) {
		times[k.topic][partition] = at
	}
	answer, err := k.admin.ListOffsets(times, &sarama.ListOffsetsOptions{IsolationLevel: sarama.ReadCommitted})
	if err != nil {
		k.t.Fatal(err)
	}
	found := make(map[int32]int64)
	for partition, result := range answer[k.topic] {
		if result.Err != nil && !errors.Is(result.Err, sarama.ErrNoError) { // which is not nil
			k.t.Fatal(result.Err)
		}
		found[partition] = result.Offset
	}
	return found
}

// lag is what Kafka's own tools call lag: the log's end less the group's offset, or less the log's start where the
// group has none or one that was deleted.
func (k *lagKafka) lag(group string) map[int32]float64 {
	k.t.Helper()
	partitions := make([]int32, 0, lagPartitions)
	for partition := range int32(lagPartitions) {
		partitions = append(partitions, partition)
	}
	var committed *sarama.OffsetFetchResponse
	settles(k.t, "offsets of the group, which its coordinator may have to load", func() (err error) {
		committed, err = k.admin.ListConsumerGroupOffsets(group, map[string][]int32{k.topic: partitions})
		return err
	})
	starts, lag := k.offsets(sarama.OffsetOldest), make(map[int32]float64)
	for partition, end := range k.offsets(sarama.OffsetNewest) {
		block := committed.GetBlock(k.topic, partition)
		if block == nil || block.Err != sarama.ErrNoError {
			k.t.Fatalf("no offset of group %s: %+v", group, block)
		}
		lag[partition] = float64(end - max(block.Offset, starts[partition]))
	}
	return lag
}

// paged is a member of a group, and the lag on its page by partition.
type paged interface {
	records(t *testing.T) map[int32]float64
}

// agree waits until the members' pages together say what Kafka says, and each partition is on one page.
func (k *lagKafka) agree(step, group string, members ...paged) {
	k.t.Helper()
	settles(k.t, step, func() error {
		pages := make(map[int32]float64)
		for i, m := range members {
			own := m.records(k.t)
			if len(own) == 0 {
				return fmt.Errorf("nothing is on page %d", i)
			}
			for partition, lag := range own {
				if _, twice := pages[partition]; twice {
					return fmt.Errorf("partition %d is on two pages", partition)
				}
				pages[partition] = lag
			}
		}
		return same(pages, k.lag(group))
	})
}

// each is the same value for all partitions.
func each(value float64) map[int32]float64 {
	all := make(map[int32]float64)
	for partition := range int32(lagPartitions) {
		all[partition] = value
	}
	return all
}

// lagPoll is how often lag is asked for here.
const lagPoll = 100 * time.Millisecond

// tracker is a service's lag gauges, fed by a client of their own.
type tracker struct {
	*otelkafka.Lag
	page *telemetrytest.Recorder
	stop func()
}

func newTracker(t *testing.T, config *sarama.Config, address string) *tracker {
	t.Helper()
	page := telemetrytest.New(t, "lag", nil)
	inst, err := otelkafka.New(otelkafka.WithTelemetry(page.Telemetry))
	if err != nil {
		t.Fatal(err)
	}
	client, err := sarama.NewClient([]string{address}, config)
	if err != nil {
		t.Fatal(err)
	}
	lag, err := otelkafka.NewLag(inst, client, lagPoll)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { lag.Run(ctx) })
	stop := sync.OnceFunc(func() {
		cancel()
		running.Wait()
		_ = client.Close()
	})
	t.Cleanup(stop)
	return &tracker{Lag: lag, page: page, stop: stop}
}

// onPage returns a gauge's values on a page, by partition, of a group; "" for a page that names none.
func onPage(t *testing.T, page *telemetrytest.Recorder, name, group string) map[int32]float64 {
	t.Helper()
	families, err := page.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[int32]float64)
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			labels := make(map[string]string)
			for _, label := range m.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			if labels["group"] != group {
				continue
			}
			partition, err := strconv.Atoi(labels["partition"])
			if err != nil {
				t.Fatal(err)
			}
			found[int32(partition)] = m.GetGauge().GetValue()
		}
	}
	return found
}

func (l *tracker) records(t *testing.T) map[int32]float64 {
	t.Helper()
	return onPage(t, l.page, catalogue.KafkaConsumerLag, "")
}

func (l *tracker) seconds(t *testing.T) map[int32]float64 {
	t.Helper()
	return onPage(t, l.page, catalogue.KafkaConsumerLagSeconds, "")
}

// member is one instance of a consumer group. It has records in progress as
// soon as they come and is done with one for every permit; a closed channel is
// a permit for all.
type member struct {
	*tracker
	group   sarama.ConsumerGroup
	permits chan struct{}
	leave   func()
}

func join(t *testing.T, config *sarama.Config, address, group, topic string) *member {
	t.Helper()
	consumers, err := sarama.NewConsumerGroup([]string{address}, group, config)
	if err != nil {
		t.Fatal(err)
	}
	m := &member{tracker: newTracker(t, config, address), group: consumers, permits: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	var consuming sync.WaitGroup
	consuming.Go(func() {
		for ctx.Err() == nil {
			if err := consumers.Consume(ctx, []string{topic}, m); err != nil && ctx.Err() == nil {
				t.Logf("consume %s: %v", topic, err)
			}
		}
	})
	m.leave = sync.OnceFunc(func() {
		cancel()
		consuming.Wait()
		if err := consumers.Close(); err != nil {
			t.Errorf("leave group %s: %v", group, err)
		}
	})
	t.Cleanup(m.leave)
	return m
}

func (m *member) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim follows its partition's lag as a service would, whatever the way of rebalancing.
func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	topic, partition := claim.Topic(), claim.Partition()
	m.Assign(topic, partition, claim.InitialOffset())
	defer m.Revoke(topic, partition)
	var inProgress []*sarama.ConsumerMessage
	for {
		permits := m.permits
		if len(inProgress) == 0 {
			permits = nil
		}
		select {
		case msg, open := <-claim.Messages():
			if !open {
				return nil
			}
			if inProgress = append(inProgress, msg); len(inProgress) == 1 {
				m.Advance(topic, partition, msg.Offset, msg.Timestamp)
			}
		case <-permits:
			session.MarkMessage(inProgress[0], "")
			session.Commit()
			next, at := inProgress[0].Offset+1, time.Time{}
			if inProgress = inProgress[1:]; len(inProgress) > 0 {
				next, at = inProgress[0].Offset, inProgress[0].Timestamp
			}
			m.Advance(topic, partition, next, at)
		}
	}
}

// settles waits until a condition holds.
func settles(t *testing.T, what string, condition func() error) {
	t.Helper()
	eventually(t, func(context.Context) error {
		if err := condition(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
}

// same compares what partitions have, with an error for the difference.
func same(got, want map[int32]float64) error {
	if !maps.Equal(got, want) {
		return fmt.Errorf("%v, want %v", got, want)
	}
	return nil
}
