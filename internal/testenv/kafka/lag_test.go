//go:build unix && integration

package kafka_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"

	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

const lagPartitions = 3

// lagKafka is a broker, what its administrator sees of it, and a topic.
type lagKafka struct {
	*testkafka.Broker
	t        *testing.T
	admin    sarama.ClusterAdmin
	producer sarama.SyncProducer
	topic    string
}

func lagConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Group.Heartbeat.Interval = 200 * time.Millisecond
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	return config
}

func onTopic(t *testing.T, broker *testkafka.Broker, topic string) *lagKafka {
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

// offsets asks Kafka where all partitions end or start.
func (k *lagKafka) offsets(at int64) map[int32]int64 {
	k.t.Helper()
	asked := map[string]map[int32]int64{k.topic: {}}
	for partition := range int32(lagPartitions) {
		asked[k.topic][partition] = at
	}
	answer, err := k.admin.ListOffsets(asked, &sarama.ListOffsetsOptions{IsolationLevel: sarama.ReadCommitted})
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
	eventually(k.t, "offsets of the group, which its coordinator may have to load", func() (err error) {
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

// agree waits until the members' pages together say what Kafka says, and each partition is on one page.
func (k *lagKafka) agree(step, group string, members ...*member) {
	k.t.Helper()
	eventually(k.t, step, func() error {
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
