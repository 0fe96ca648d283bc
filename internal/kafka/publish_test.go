package kafka_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
)

func TestMain(m *testing.M) {
	kafka.BoundDecompression()
	leaks.Main(m)
}

// What was acknowledged is in the log, what could not be is an error that says
// so, and closing leaves no goroutine.
func TestPublisher(t *testing.T) {
	cfg, client := testkafka.Embedded(t)
	p, err := kafka.NewPublisher(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	timed := 0
	p.Took = func(took time.Duration) {
		if timed++; took <= 0 {
			t.Errorf("a call took %s", took)
		}
	}
	var batch []*sarama.ProducerMessage
	for i := range 50 {
		batch = append(batch, kafka.Outgoing(record.Message{Topic: banking.TopicOrdersCreated, Key: fmt.Append(nil, i), Value: []byte("v")}))
	}
	if err := p.PublishAll(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	var total int64
	for id := range int32(banking.Partitions) {
		end, err := client.GetOffset(banking.TopicOrdersCreated, id, sarama.OffsetNewest)
		if err != nil {
			t.Fatal(err)
		}
		total += end
	}
	if total != 50 {
		t.Errorf("%d records in the log, want 50", total)
	}
	huge := kafka.Outgoing(record.Message{Topic: banking.TopicOrdersCreated, Value: make([]byte, kafka.MaxRecordBytes+1)})
	if err := p.Publish(t.Context(), huge); !errors.Is(err, kafka.ErrUnacknowledged) {
		t.Errorf("publishing too large a record: %v, want kafka.ErrUnacknowledged", err)
	}
	if timed != 2 {
		t.Errorf("%d of 2 calls were timed", timed)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// A cluster that answers and takes no writes does not have its writers ready.
func TestAPublisherWhoseWritesAreRefusedIsNotReady(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	p, err := kafka.NewPublisher(t.Context(), kafka.Config{Brokers: cluster.ListenAddrs(), ClientID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	publish := func() error {
		return p.Publish(t.Context(), kafka.Outgoing(record.Message{Topic: "orders", Value: []byte("v")}))
	}
	if err := errors.Join(publish(), p.Check(t.Context())); err != nil {
		t.Fatal(err)
	}
	full := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.KafkaStorageError, Count: -1})
	if err := publish(); err == nil {
		t.Fatal("a record was acknowledged that was refused")
	}
	if err := p.Check(t.Context()); !errors.Is(err, kafka.ErrUnacknowledged) {
		t.Errorf("after a record was refused: %v", err)
	}
	full.Remove()
	if err := errors.Join(publish(), p.Check(t.Context())); err != nil {
		t.Errorf("once records are taken: %v", err)
	}
}
