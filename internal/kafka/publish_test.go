package kafka_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/IBM/sarama"
	"go.uber.org/goleak"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"))
}

// What was acknowledged is in the log, what could not be is an error that says
// so, and closing leaves no goroutine.
func TestPublisher(t *testing.T) {
	cfg, client := testkafka.Embedded(t)
	p, err := kafka.NewPublisher(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
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
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
