//go:build !race || whole

package system_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

// Partitions that are added while everything runs are read, and orders in them
// decided. It takes as long as consumers look for partitions in intervals.
func TestAddedPartitionsAreRead(t *testing.T) {
	bank.Parallel(t)
	s := bank.Start(t, t.TempDir(), "--log-level", "error")
	client, err := kafka.Connect(t.Context(), kafka.Config{Brokers: []string{s.Brokers}, Patience: bank.Patience})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range banking.Topics() {
		if err := admin.CreatePartitions(topic.Name, 5, nil, false); err != nil {
			t.Fatal(err)
		}
	}
	m := orderIn(t, 4)
	testkafka.Begin(t, kafka.Config{Brokers: []string{s.Brokers}}, m).Commit()
	s.Settled(t, 1)
	bank.Eventually(t, func() error {
		_, all := bank.Scrape(t, s.Paiement)
		if n := all[`kafka_consumer_unread_partitions{service="paiement",topic="orders.created"}`]; n != 0 {
			return fmt.Errorf("%v partitions are unread", n)
		}
		return bank.LagIsZero(all)
	})
}

// orderIn is an order as commande publishes them, for another partition.
func orderIn(t *testing.T, partition int32) *sarama.ProducerMessage {
	t.Helper()
	order := banking.OrderCreated{
		EventID: banking.NewEventID(), OrderID: "order-900", UserID: "user123", Amount: 100, Items: []string{"item1"}, Status: banking.StatusCreated,
		CreatedAt: time.Now().UTC().Truncate(time.Microsecond),
	}
	value, err := banking.Encode(order)
	if err != nil {
		t.Fatal(err)
	}
	return &sarama.ProducerMessage{
		Topic: banking.TopicOrdersCreated, Partition: partition, Key: sarama.StringEncoder(order.OrderID), Value: sarama.ByteEncoder(value),
		Headers: []sarama.RecordHeader{{Key: []byte("eventId"), Value: []byte(order.EventID)}, {Key: []byte("eventType"), Value: []byte(banking.TypeOrderCreated)}},
	}
}

// An order of a transaction that was aborted is neither paid, shown, counted nor a
// dead letter, and what is behind it is; nothing waits for it.
func TestAnAbortedOrderWasNeverThere(t *testing.T) {
	bank.Parallel(t)
	data := t.TempDir()
	s := bank.Start(t, data, "--log-level", "error")
	cfg := kafka.Config{Brokers: []string{s.Brokers}}
	m := orderIn(t, 1)
	junk := &sarama.ProducerMessage{Topic: banking.TopicOrdersCreated, Partition: 1, Key: sarama.StringEncoder("order-901"), Value: sarama.StringEncoder("junk")}
	testkafka.Begin(t, cfg, m, junk).Abort()
	for range 4 {
		s.MustOrder(t, "2")
	}
	testkafka.Begin(t, cfg, orderIn(t, 2)).Abort() // a log that ends in a marker
	s.Settled(t, 4)
	var shown struct{ TotalCount int }
	bank.Eventually(t, func() error {
		bank.GetJSON(t, s.Suivi+"/orders", &shown)
		if shown.TotalCount != 4 {
			return fmt.Errorf("%d orders shown", shown.TotalCount)
		}
		for _, url := range []string{s.Paiement, s.Suivi, s.Analyseur} {
			if _, all := bank.Scrape(t, url); bank.LagIsZero(all) != nil {
				return bank.LagIsZero(all)
			}
		}
		return nil
	})
	if got := mustDLQ(t, s.Brokers, "list"); got != "no dead letters\n" {
		t.Errorf("dead letters: %s", got)
	}
	traced := bank.Launch(t, "trace", "order-900", "--kafka-brokers", s.Brokers, "--suivi-url", s.Suivi, "--jaeger-url", "")
	if <-traced.Done; traced.Status != 1 {
		t.Errorf("the aborted order is traced:\n%s", traced.Stdout)
	}
}
