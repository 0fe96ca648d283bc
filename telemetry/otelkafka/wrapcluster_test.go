package otelkafka

import (
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
)

// wrapCluster starts a broker with the topic "out" of 3 partitions.
func wrapCluster(t testing.TB) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

func wrapConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V3_6_0_0
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Retry.Max = 1
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Metadata.Retry.Max = 1
	return config
}

// asyncOf returns a wrapped producer; it is the test's to close.
func asyncOf(t testing.TB, cluster *kfake.Cluster, config *sarama.Config, i *Instrumentation, options ...AsyncOption) sarama.AsyncProducer {
	t.Helper()
	p, err := sarama.NewAsyncProducer(cluster.ListenAddrs(), config)
	if err != nil {
		t.Fatal(err)
	}
	return WrapAsyncProducer(p, config, i, options...)
}

func syncOf(t testing.TB, cluster *kfake.Cluster, config *sarama.Config, i *Instrumentation) sarama.SyncProducer {
	t.Helper()
	p, err := sarama.NewSyncProducer(cluster.ListenAddrs(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return WrapSyncProducer(p, i)
}

// readAll returns the first n records of the topic "out", as a reader of committed records sees them.
func readAll(t testing.TB, cluster *kfake.Cluster, n int) []*sarama.ConsumerMessage {
	t.Helper()
	config := wrapConfig()
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	consumer, err := sarama.NewConsumer(cluster.ListenAddrs(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = consumer.Close() }()
	all := make(chan *sarama.ConsumerMessage)
	done := make(chan struct{})
	defer close(done)
	for partition := range int32(3) {
		claim, err := consumer.ConsumePartition("out", partition, sarama.OffsetOldest)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = claim.Close() }() //nolint:revive // of three partitions
		go func() {
			for {
				select {
				case msg, ok := <-claim.Messages():
					if !ok {
						return
					}
					select {
					case all <- msg:
					case <-done:
						return
					}
				case <-done:
					return
				}
			}
		}()
	}
	var read []*sarama.ConsumerMessage
	for len(read) < n {
		select {
		case msg := <-all:
			read = append(read, msg)
		case <-t.Context().Done():
			t.Fatalf("%d of %d records were read", len(read), n)
		}
	}
	return read
}
