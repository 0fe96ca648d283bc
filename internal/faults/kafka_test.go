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
	"github.com/vigie-dev/vigie/internal/record"
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

// The record of a customer's order, and of nobody else's, is written again, as it is.
func TestOneRecordIsWrittenAgain(t *testing.T) {
	cluster, client, publisher := bank(t)
	order := func(id, value string) *sarama.ProducerMessage {
		return &sarama.ProducerMessage{
			Topic: banking.TopicOrdersCreated, Key: sarama.StringEncoder(id), Value: sarama.StringEncoder(value),
			Headers: []sarama.RecordHeader{{Key: []byte(record.HeaderEventType), Value: []byte(banking.TypeOrderCreated)}},
		}
	}
	ours := order("order-1", `{"orderId":"order-1"}`)
	for _, m := range []*sarama.ProducerMessage{order(banking.NewProbeID(0), "{}"), order("poison", "no order"), ours} {
		if err := publisher.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := named(OfStrangers(cluster), "hot-key").Run(ctx, cancel); err != nil {
		t.Fatal(err)
	}
	spans, err := kafka.Bounds(t.Context(), client, banking.TopicOrdersCreated)
	if err != nil {
		t.Fatal(err)
	}
	var all int64
	for _, s := range spans {
		all += s.End
		if s.ID == ours.Partition && s.End <= repeated {
			t.Errorf("partition %d ends at %d, want %d more", s.ID, s.End, repeated)
		}
	}
	if all != 3+repeated {
		t.Errorf("%d records are there, want 3 and %d copies", all, repeated)
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
		if err := advance(t.Context(), client, admin, share); err != nil {
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
