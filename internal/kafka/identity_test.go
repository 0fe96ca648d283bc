package kafka_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

// A topic that is missing is waited for; one that has been replaced is told from
// the one before, by whoever asks, and ends what watches.
func TestReplacedTopicsAreNoticed(t *testing.T) {
	_, client := testkafka.Embedded(t)
	replacedTopicsAreNoticed(t, client)
}

func replacedTopicsAreNoticed(t *testing.T, client *kafka.Client) {
	topics := []string{banking.TopicOrdersCreated, banking.TopicOrdersDLQ}
	known, err := kafka.Identities(t.Context(), client, topics)
	if err != nil {
		t.Fatal(err)
	}
	identity := kafka.NewIdentity(client, topics, known)
	confirm := func() error { return identity.Confirm(record.Partition{Topic: banking.TopicOrdersCreated, ID: 1}) }
	if err := errors.Join(identity.Check(), confirm()); err != nil {
		t.Fatal(err)
	}
	health := kafka.NewHealth(identity, time.Millisecond, nil)
	ended := make(chan error, 1)
	go func() { ended <- health.Run(t.Context()) }()

	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.DeleteTopic(banking.TopicOrdersDLQ); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); identity.Check() == nil && time.Now().Before(deadline); {
		continue // Kafka acknowledges a moment before brokers have heard of it
	}
	for what, err := range map[string]error{"check": identity.Check(), "confirm": confirm()} {
		if err == nil || errors.Is(err, kafka.ErrReplaced) || !strings.Contains(err.Error(), banking.TopicOrdersDLQ) {
			t.Errorf("%s without the topic: %v", what, err)
		}
	}
	if _, err := kafka.EnsureTopics(t.Context(), client, banking.Topics()); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 20 { // at once: they share requests
		all.Go(func() {
			if err := confirm(); !errors.Is(err, kafka.ErrReplaced) || !strings.Contains(err.Error(), "topic orders.dlq is another") {
				t.Errorf("confirm with another topic: %v", err)
			}
		})
	}
	all.Wait()
	if err := <-ended; !errors.Is(err, kafka.ErrReplaced) {
		t.Errorf("the watch ends with %v", err)
	}
	if err := health.Check(t.Context()); !errors.Is(err, kafka.ErrReplaced) {
		t.Errorf("readiness says %v", err)
	}
}

// A topic that has lost more replicas than writing to it can do without does not
// have its writers ready.
func TestTopicsShortOfReplicasAreNotReady(t *testing.T) {
	_, client := testkafka.Embedded(t)
	topics := []string{banking.TopicOrdersCreated}
	known, err := kafka.Identities(t.Context(), client, topics)
	if err != nil {
		t.Fatal(err)
	}
	enough, err := kafka.InSync(t.Context(), client, topics)
	if err != nil || enough[banking.TopicOrdersCreated] != 1 {
		t.Fatalf("a topic needs %v, %v", enough, err)
	}
	health := kafka.NewHealth(kafka.NewIdentity(client, topics, known), time.Millisecond, map[string]int{banking.TopicOrdersCreated: 2})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- health.Run(ctx) }()
	for deadline := time.Now().Add(time.Minute); health.Check(ctx) == nil && time.Now().Before(deadline); {
		_ = lifecycle.Sleep(ctx, time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := health.Check(t.Context()); !errors.Is(err, kafka.ErrShort) {
		t.Errorf("of one replica, with two needed: %v", err)
	}
}
