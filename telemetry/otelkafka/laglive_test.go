package otelkafka

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/vigie-dev/vigie/telemetry"
)

// liveCluster starts a broker and a client, and returns a function that appends n records to a partition.
func liveCluster(t *testing.T, brokers int) (*kfake.Cluster, sarama.Client, func(partition int32, n int)) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(brokers), kfake.SeedTopics(3, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Metadata.Retry.Max = 0
	client, err := sarama.NewClient(cluster.ListenAddrs(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = producer.Close() })
	return cluster, client, func(partition int32, n int) {
		t.Helper()
		for range n {
			msg := &sarama.ProducerMessage{Topic: "t", Partition: partition, Value: sarama.StringEncoder("v")}
			if _, _, err := producer.SendMessage(msg); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestLagOnABroker(t *testing.T) {
	cluster, client, produce := liveCluster(t, 1)
	r, inst := newInstrumentation(t, Options{})
	l, err := NewLag(inst, client, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int64
	cluster.ControlKey(int16(kmsg.ListOffsets), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		requests.Add(1)
		return nil, nil, false
	})
	want := func(partition string, want float64) {
		t.Helper()
		if got := r.Metric(telemetry.KafkaConsumerLag, map[string]string{"topic": "t", "partition": partition}); got != want {
			t.Errorf("partition %s: lag %v, want %v", partition, got, want)
		}
	}
	poll := func() {
		t.Helper()
		if err := l.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	produce(0, 5)
	produce(1, 2)
	l.Assign("t", 0, 0)
	l.Assign("t", 1, 1)
	l.Assign("t", 2, sarama.OffsetNewest)
	poll()
	want("0", 5)
	want("1", 1)
	want("2", 0)
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests for three partitions of one leader, want 1", n)
	}
	l.Advance("t", 0, 4, time.Time{})
	produce(2, 3)
	poll()
	want("0", 1)
	want("2", 3)
	if l.CaughtUp() {
		t.Error("caught up with records left at assignment")
	}
	l.Advance("t", 0, 5, time.Time{})
	l.Advance("t", 1, 2, time.Time{})
	if !l.CaughtUp() {
		t.Error("not caught up: partition 2 grew after its assignment")
	}
}

func TestLagAsksEachLeaderOnce(t *testing.T) {
	cluster, client, produce := liveCluster(t, 3)
	r, inst := newInstrumentation(t, Options{})
	l, err := NewLag(inst, client, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for partition := range int32(3) {
		produce(partition, int(partition)+1)
		l.Assign("t", partition, sarama.OffsetOldest)
	}
	if err := l.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.Metric(telemetry.KafkaConsumerLag, nil); got != 1+2+3 {
		t.Errorf("lag %v over all partitions, want 6", got)
	}
	if err := cluster.MoveTopicPartition("t", 0, 2); err != nil {
		t.Fatal(err)
	}
	produce(1, 1)
	for range 2 { // the first poll after the move may fail and makes the client look for the new leader
		err = l.poll(t.Context())
	}
	if err != nil {
		t.Errorf("poll after the leader moved: %v", err)
	}
	if got := r.Metric(telemetry.KafkaConsumerLag, nil); got != 1+3+3 {
		t.Errorf("lag %v after the leader moved, want 7", got)
	}
}

func TestLagSurvivesTheBroker(t *testing.T) {
	cluster, client, produce := liveCluster(t, 1)
	r, inst := newInstrumentation(t, Options{})
	l, err := NewLag(inst, client, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	produce(0, 5)
	l.Assign("t", 0, 2)
	if err := l.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	cluster.Close()
	if err := l.poll(t.Context()); err == nil {
		t.Error("a poll without a broker succeeds")
	}
	if got := r.Metric(telemetry.KafkaConsumerLag, nil); got != 3 {
		t.Errorf("lag %v without a broker, want the last, 3", got)
	}
}

func TestLagOfAnUnknownTopicIsAnError(t *testing.T) {
	_, client, produce := liveCluster(t, 1)
	r, inst := newInstrumentation(t, Options{})
	l, err := NewLag(inst, client, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	produce(0, 1)
	l.Assign("nowhere", 9, 0)
	l.Assign("t", 0, 0)
	if err := l.poll(t.Context()); err == nil {
		t.Error("a partition without leader is not reported")
	}
	if got := r.Metric(telemetry.KafkaConsumerLag, map[string]string{"topic": "t"}); got != 1 {
		t.Errorf("lag %v of the partition that is there, want 1", got)
	}
}
