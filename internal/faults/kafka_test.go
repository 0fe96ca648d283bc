package faults

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/embedded/broker"
	"github.com/vigie-dev/vigie/internal/kafka"
)

// bank is a broker with the bank's topics.
func bank(t *testing.T) (kafka.Config, *kafka.Client, *kafka.Publisher) {
	t.Helper()
	b, err := broker.Start(t.Context(), broker.Config{Address: "127.0.0.1:0", Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	cluster := kafka.Config{Brokers: []string{b.Address()}, ClientID: "test", Patience: time.Minute}
	client, err := kafka.Connect(t.Context(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if _, err := kafka.EnsureTopics(t.Context(), client, banking.Topics()); err != nil {
		t.Fatal(err)
	}
	publisher, err := kafka.NewPublisher(t.Context(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = publisher.Close() })
	return cluster, client, publisher
}

// named is one of some faults.
func named(all []Fault, name string) Fault {
	return all[slices.IndexFunc(all, func(f Fault) bool { return f.Name == name })]
}

// A topic of the fault's own has its records in one partition, and is gone afterwards.
func TestOnePartitionIsHot(t *testing.T) {
	cluster, client, _ := bank(t)
	ctx, cancel := context.WithCancel(t.Context())
	if err := named(OfStrangers(cluster), "hot-partition").Run(ctx, func() {
		spans, err := kafka.Bounds(t.Context(), client, hotTopic)
		if err != nil || len(spans) != banking.Partitions {
			t.Errorf("partitions: %v, %v", spans, err)
		}
		for _, s := range spans {
			if want := map[int32]int64{0: hot}[s.ID]; s.End != want {
				t.Errorf("partition %d has %d records, want %d", s.ID, s.End, want)
			}
		}
		cancel()
	}); err != nil {
		t.Fatal(err)
	}
	if err := client.RefreshMetadata(); err != nil {
		t.Fatal(err)
	}
	if topics, err := client.Topics(); err != nil || slices.Contains(topics, hotTopic) {
		t.Errorf("the topic is left: %v, %v", topics, err)
	}
}

// A group of the fault's own is committed for, from the topic's start to its end, and
// is gone afterwards.
func TestAnOperatorSetsAGroupBack(t *testing.T) {
	cluster, client, publisher := bank(t)
	const topic = banking.TopicPaymentsAuthorized
	for range 2 * steps {
		if err := publisher.Publish(t.Context(), &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder("order-1"), Value: sarama.StringEncoder("{}")}); err != nil {
			t.Fatal(err)
		}
	}
	admin, err := sarama.NewClusterAdminFromClient(client.Client)
	if err != nil {
		t.Fatal(err)
	}
	committed := func() (sum int64, partitions int) {
		found, err := kafka.Committed(client.Client, rewoundGroup, topic)
		if err != nil {
			t.Error(err)
		}
		for _, offset := range found {
			sum += offset
		}
		return sum, len(found)
	}
	for share, want := range map[int]int64{steps: 2 * steps, steps / 2: steps, 0: 0} {
		if err := advance(t.Context(), client, share); err != nil {
			t.Fatal(err)
		}
		if got, partitions := committed(); got != want || partitions != banking.Partitions {
			t.Errorf("at %d of %d it has committed up to %d in %d partitions, want %d", share, steps, got, partitions, want)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	if err := named(OfStrangers(cluster), "offsets-rewound").Run(ctx, func() {
		if got, partitions := committed(); got != 0 || partitions != banking.Partitions {
			t.Errorf("it begins at %d in %d partitions", got, partitions)
		}
		cancel()
	}); err != nil {
		t.Error(err)
	}
	groups, err := admin.ListConsumerGroups()
	if _, left := groups[rewoundGroup]; err != nil || left {
		t.Errorf("the group is left: %v, %v", groups, err)
	}
}
