package otelkafka

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// liveCluster starts a broker and a client, and returns a function that appends n records to a partition.
func liveCluster(t *testing.T, brokers int) (*kfake.Cluster, sarama.Client, func(partition int32, n int)) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(brokers), kfake.SeedTopics(3, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	client, produce := liveClient(t, cluster)
	return cluster, client, produce
}

func liveClient(t *testing.T, cluster *kfake.Cluster, changes ...func(*sarama.Config)) (sarama.Client, func(partition int32, n int)) {
	t.Helper()
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Metadata.Retry.Max = 0
	for _, change := range changes {
		change(config)
	}
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
	return client, func(partition int32, n int) {
		t.Helper()
		for range n {
			msg := &sarama.ProducerMessage{Topic: "t", Partition: partition, Value: sarama.StringEncoder("v")}
			if _, _, err := producer.SendMessage(msg); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// watched is a tracker on live brokers, polled by hand.
type watched struct {
	*Lag
	t *testing.T
	r *telemetrytest.Recorder
}

func watch(t *testing.T, client sarama.Client) *watched {
	t.Helper()
	r, inst := newInstrumentation(t, Options{})
	l, err := NewLag(inst, client, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return &watched{l, t, r}
}

func (w *watched) polled() {
	w.t.Helper()
	if err := w.poll(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) want(step, partition string, want float64) {
	w.t.Helper()
	labels := map[string]string{"topic": "t", "partition": partition}
	if got := w.r.Metric(telemetry.KafkaConsumerLag, labels); got != want {
		w.t.Errorf("%s: lag of partition %s is %v, want %v", step, partition, got, want)
	}
}

// counted counts the requests of a kind from now on.
func counted(cluster *kfake.Cluster, key kmsg.Key) *atomic.Int64 {
	var n atomic.Int64
	cluster.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		n.Add(1)
		return nil, nil, false
	})
	return &n
}

func TestLagOnABroker(t *testing.T) {
	_, client, produce := liveCluster(t, 1)
	l := watch(t, client)
	produce(0, 5)
	produce(1, 2)
	l.Assign("t", 0, 0)
	l.Assign("t", 1, 1)
	l.Assign("t", 2, sarama.OffsetNewest)
	l.polled()
	l.want("assigned", "0", 5)
	l.want("assigned", "1", 1)
	l.want("assigned", "2", 0)
	l.Advance("t", 0, 4, time.Time{})
	produce(2, 3)
	l.polled()
	l.want("moved on", "0", 1)
	l.want("grown", "2", 3)
	if l.CaughtUp() {
		t.Error("caught up with records left at assignment")
	}
	l.Advance("t", 0, 5, time.Time{})
	l.Advance("t", 1, 2, time.Time{})
	if !l.CaughtUp() {
		t.Error("not caught up: partition 2 grew after its assignment")
	}
}

// TestLagCostsRequestsByBroker holds the number of requests against the number of brokers, for many partitions.
func TestLagCostsRequestsByBroker(t *testing.T) {
	const brokers, partitions = 3, 30
	cluster, err := kfake.NewCluster(kfake.NumBrokers(brokers), kfake.SeedTopics(partitions, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	client, produce := liveClient(t, cluster)
	l := watch(t, client)
	for partition := range int32(partitions) {
		produce(partition, 1)
		l.Assign("t", partition, 0)
	}
	offsets, fetches, metadata := counted(cluster, kmsg.ListOffsets), counted(cluster, kmsg.Fetch), counted(cluster, kmsg.Metadata)
	cost := func(step string, wantOffsets, wantFetches int64) {
		t.Helper()
		l.polled()
		if o, f := offsets.Swap(0), fetches.Swap(0); o != wantOffsets || f != wantFetches {
			t.Errorf("%s: %d requests for offsets and %d to look, want %d and %d", step, o, f, wantOffsets, wantFetches)
		}
	}
	cost("records left", 2*brokers, brokers)
	cost("standing still", 2*brokers, 0)
	for partition := range int32(partitions) {
		l.Advance("t", partition, 1, time.Time{})
	}
	cost("all processed", brokers, 0)
	if n := metadata.Load(); n != 0 {
		t.Errorf("%d requests for metadata, want none", n)
	}
	for range 100 {
		l.r.Metric(telemetry.KafkaConsumerLag, nil)
	}
	if n := offsets.Load() + fetches.Load(); n != 0 {
		t.Errorf("%d requests by scrapes", n)
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

// transact appends n records in one transaction and ends it.
func transact(t *testing.T, producer sarama.SyncProducer, n int, end func() error) {
	t.Helper()
	if err := producer.BeginTxn(); err != nil {
		t.Fatal(err)
	}
	for range n {
		if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: "t", Value: sarama.StringEncoder("v")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
}

func TestLagPassesOverWhatTransactionsLeave(t *testing.T) {
	for isolation, aborted := range map[sarama.IsolationLevel]float64{sarama.ReadCommitted: 0, sarama.ReadUncommitted: 3} {
		t.Run(map[sarama.IsolationLevel]string{sarama.ReadCommitted: "committed", sarama.ReadUncommitted: "uncommitted"}[isolation], func(t *testing.T) {
			cluster, _, _ := liveCluster(t, 1)
			client, _ := liveClient(t, cluster, func(c *sarama.Config) {
				c.Consumer.IsolationLevel = isolation
				c.Producer.Idempotent, c.Producer.RequiredAcks, c.Net.MaxOpenRequests = true, sarama.WaitForAll, 1
				c.Producer.Transaction.ID, c.Producer.Transaction.Retry.Backoff = "tx", 5*time.Millisecond
			})
			producer, err := sarama.NewSyncProducerFromClient(client)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = producer.Close() })
			l := watch(t, client)
			l.Assign("t", 0, 0)
			transact(t, producer, 2, producer.CommitTxn)
			l.polled()
			l.want("two records and a marker", "0", 3)
			l.Advance("t", 0, 2, time.Time{})
			l.polled()
			l.want("a marker", "0", 0)
			transact(t, producer, 2, producer.AbortTxn)
			l.polled()
			l.want("an aborted transaction", "0", aborted)
			transact(t, producer, 1, producer.CommitTxn)
			l.polled()
			l.want("a record after an aborted transaction", "0", aborted+2)
			l.Advance("t", 0, 7, time.Time{})
			l.polled()
			l.want("all processed", "0", 0)
			if !l.CaughtUp() {
				t.Error("not caught up")
			}
		})
	}
}

func TestLagOnATruncatedLog(t *testing.T) {
	cluster, client, produce := liveCluster(t, 1)
	l := watch(t, client)
	produce(0, 10)
	l.Assign("t", 0, 2)
	l.polled()
	l.want("before", "0", 8)
	for _, cut := range []struct {
		to   int64
		left float64
	}{{1, 8}, {6, 4}, {10, 0}} {
		if err := cluster.DeleteRecords("t", 0, cut.to); err != nil {
			t.Fatal(err)
		}
		l.polled()
		l.want(fmt.Sprintf("truncated to %d", cut.to), "0", cut.left)
	}
}

// TestLagDoesNotWaitForABrokerThatIsStuck has one broker of two take requests and answer none.
func TestLagDoesNotWaitForABrokerThatIsStuck(t *testing.T) {
	cluster, _, produce := liveCluster(t, 2)
	for partition := range int32(2) {
		if err := cluster.MoveTopicPartition("t", partition, partition); err != nil {
			t.Fatal(err)
		}
		produce(partition, 4)
	}
	client, _ := liveClient(t, cluster, func(c *sarama.Config) { c.Net.ReadTimeout = 2 * time.Second })
	l := watch(t, client)
	l.timeout = 500 * time.Millisecond
	l.Assign("t", 0, 0)
	l.Assign("t", 1, 0)
	l.polled()
	cluster.ControlKey(int16(kmsg.ListOffsets), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		return nil, nil, cluster.CurrentNode() == 0
	})
	produce(0, 1)
	produce(1, 1)
	for step, want := range []error{context.DeadlineExceeded, errPending} {
		if err := l.poll(t.Context()); !errors.Is(err, want) {
			t.Errorf("poll %d beside a stuck broker: %v, want %v", step, err, want)
		}
		l.want("stuck", "0", 4)
		l.want("beside a stuck broker", "1", 5)
	}
	l.settle() // the client gives the answer up
}
