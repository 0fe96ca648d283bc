package brokertest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// liveCluster starts a broker and a client, and returns a function that appends n records to a partition.
func liveCluster(t *testing.T, brokers int) (*kfake.Cluster, sarama.Client, func(partition int32, n int)) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(brokers), kfake.SeedTopics(3, "t"), kfake.SeedTopics(1, "witness"))
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

// watched is a tracker that runs on live brokers.
type watched struct {
	*otelkafka.Lag
	t *testing.T
	r *telemetrytest.Recorder
}

// watch starts a tracker. Its polls are those that the test calls for, unless one goes wrong.
func watch(t *testing.T, client sarama.Client) *watched {
	t.Helper()
	return watchEvery(t, client, 10*time.Second)
}

func watchEvery(t *testing.T, client sarama.Client, interval time.Duration) *watched {
	t.Helper()
	r, inst := newInstrumentation(t, otelkafka.Options{})
	l, err := otelkafka.NewLag(inst, client, interval)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { l.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	return &watched{l, t, r}
}

// polled returns when a poll that began after the call has ended. A poll follows each assignment at once, and what is
// assigned has no series before a poll has asked for its end. Polls come one after the other: once the witness has been
// seen a second time, the poll that saw it first is over.
func (w *watched) polled() {
	w.t.Helper()
	for range 2 {
		w.Assign("witness", 0, sarama.OffsetNewest)
		eventually(w.t, "polled", func() bool {
			return w.r.Series(catalogue.KafkaConsumerLag, map[string]string{"topic": "witness"}) == 1
		})
	}
}

// want waits for a partition's lag: a poll that a busy machine cut short is tried again.
func (w *watched) want(step, partition string, want float64) {
	w.t.Helper()
	labels := map[string]string{"topic": "t", "partition": partition}
	eventually(w.t, fmt.Sprintf("%s: lag of partition %s is %v", step, partition, want), func() bool {
		return w.r.Series(catalogue.KafkaConsumerLag, labels) == 1 && w.r.Metric(catalogue.KafkaConsumerLag, labels) == want
	})
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

func TestLagFollowsTheLeader(t *testing.T) {
	cluster, client, produce := liveCluster(t, 3)
	l := watch(t, client)
	for partition := range int32(3) {
		produce(partition, int(partition)+1)
		l.Assign("t", partition, sarama.OffsetOldest)
	}
	l.polled()
	for partition, want := range map[string]float64{"0": 1, "1": 2, "2": 3} {
		l.want("spread over three brokers", partition, want)
	}
	if err := cluster.MoveTopicPartition("t", 0, 2); err != nil {
		t.Fatal(err)
	}
	if err := cluster.MoveTopicPartition("t", 1, 2); err != nil {
		t.Fatal(err)
	}
	produce(0, 2)
	produce(1, 3)
	l.polled() // the first poll after the move may fail and makes the client look for the new leader
	l.want("moved", "0", 3)
	l.want("moved", "1", 5)
	l.want("where it was", "2", 3)
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
				c.Producer.Transaction.Retry.Max = 60_000 // the broker may take its time to end the transaction before
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
	client, _ := liveClient(t, cluster)
	l := watchEvery(t, client, time.Second)
	l.Assign("t", 0, 0)
	l.Assign("t", 1, 0)
	l.want("before", "0", 4)
	l.want("before", "1", 4)
	cluster.ControlKey(int16(kmsg.ListOffsets), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		return nil, nil, cluster.CurrentNode() == 0
	})
	produce(0, 1)
	produce(1, 1)
	l.want("beside a stuck broker", "1", 5)
	l.want("stuck", "0", 4)
	cluster.Close() // what is unanswered ends, or Run would wait for it as long as the client does
}
