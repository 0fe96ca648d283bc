//go:build unix && integration

package kafka_test

import (
	"testing"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/goleak"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

const patience = 30 * time.Second

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"))
}

// A record that was acknowledged is there after kill -9 and after a stop, at
// the same address and in the same cluster.
func TestRecordsAndIdentitySurviveRestarts(t *testing.T) {
	b := testkafka.Start(t)
	cfg := kafka.Config{Brokers: []string{b.Address()}}
	first := publish(t, cfg)
	for name, end := range map[string]func() error{
		"kill": func() error { b.Kill(); return nil },
		"stop": b.Stop,
	} {
		if err := end(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if b.Process().Running() {
			t.Fatalf("the broker runs after a %s", name)
		}
		if err := b.Restart(t.Context()); err != nil {
			t.Fatalf("after a %s: %v", name, err)
		}
		if again := publish(t, cfg); again != first {
			t.Errorf("cluster %s after a %s, was %s", again, name, first)
		}
	}
	client, err := kafka.Connect(t.Context(), cfg, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	var total int64
	for p := range int32(banking.Partitions) {
		end, err := client.GetOffset(banking.TopicOrdersCreated, p, sarama.OffsetNewest)
		if err != nil {
			t.Fatal(err)
		}
		total += end
	}
	if total != 3 {
		t.Errorf("%d records in the log, want 3", total)
	}
}

// Two brokers are two clusters and know nothing of each other.
func TestBrokersAreApart(t *testing.T) {
	a, b := testkafka.Start(t), testkafka.Start(t)
	one := publish(t, kafka.Config{Brokers: []string{a.Address()}})
	two := publish(t, kafka.Config{Brokers: []string{b.Address()}})
	if one == two {
		t.Errorf("both are cluster %s", one)
	}
}

// publish puts one record on a topic and returns the cluster's id.
func publish(t *testing.T, cfg kafka.Config) string {
	t.Helper()
	client, err := kafka.Connect(t.Context(), cfg, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if _, err := kafka.EnsureTopics(client, banking.Topics()); err != nil {
		t.Fatal(err)
	}
	p, err := kafka.NewPublisher(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if err := p.Publish(t.Context(), &sarama.ProducerMessage{Topic: banking.TopicOrdersCreated, Key: sarama.StringEncoder("k")}); err != nil {
		t.Fatal(err)
	}
	ids, err := kafka.Identities(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ids["cluster"]
}
