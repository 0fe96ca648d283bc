//go:build integration

package kafka_test

import (
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

// What is promised of the embedded broker holds on Apache Kafka.
func TestOnApacheKafka(t *testing.T) {
	b := testkafka.Start(t)
	cfg := kafka.Config{Brokers: []string{b.Address()}, ClientID: "test", Patience: time.Minute}
	client, err := kafka.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if _, err := kafka.EnsureTopics(t.Context(), client, banking.Topics()); err != nil {
		t.Fatal(err)
	}
	t.Run("committed records", func(t *testing.T) { committedRecordsAreRead(t, cfg, client) })
	t.Run("settings", func(t *testing.T) { topicsAreComparedAndSet(t, client) })
	t.Run("replaced topics", func(t *testing.T) { replacedTopicsAreNoticed(t, client) }) // the last: it replaces one
}
