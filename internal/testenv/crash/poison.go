//go:build unix

package crash

import (
	"context"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	vigie "github.com/vigie-dev/vigie/internal/record"
)

// poisonable are the topics whose records the services must understand.
func poisonable() []string {
	return []string{banking.TopicOrdersCreated, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected}
}

// poisons are values that no service can process, in turn. Keys and headers
// are those of a proper record.
func poisons(id, eventID string) [][]byte {
	proper := `{"eventId":"` + eventID + `","orderId":"` + id + `","userId":"poison"`
	return [][]byte{
		nil, {}, []byte("\x00\xff not JSON"), []byte(`{"eventId":`), []byte(`[]`), []byte(`{}`),
		[]byte(proper + `}`), // fields missing
		[]byte(proper + `,"amount":-5,"items":[],"status":"CREATED","createdAt":"2026-01-01T00:00:00Z"}`),
		[]byte(proper + `,"amount":1e999,"items":[],"status":"CREATED","createdAt":"2026-01-01T00:00:00Z"}`),
		[]byte(proper + `,"amount":"5","items":[],"status":"?","createdAt":"yesterday"}`),
		[]byte(`{"eventId":"` + eventID + `","orderId":"order-0"}`), // not the key's order
	}
}

// poisonHeads puts poison at the head of each partition, before any service
// has read from it.
func poisonHeads(ctx context.Context, r *round) error {
	return r.putPoison(ctx, poisonable(), len(poisons("", "")))
}

// putPoison adds n poison records to each partition of the topics.
func (r *round) putPoison(_ context.Context, topics []string, n int) error {
	cfg := clientConfig()
	cfg.Producer.Partitioner = sarama.NewManualPartitioner
	cfg.Producer.RequiredAcks = sarama.WaitForAll
	cfg.Producer.Return.Successes = true
	cfg.Producer.Retry.Max = 0 // the position must be known
	producer, err := sarama.NewSyncProducer([]string{r.broker.Address()}, cfg)
	if err != nil {
		return fmt.Errorf("connect poison: %w", err)
	}
	defer func() { _ = producer.Close() }()
	for _, topic := range topics {
		for partition := range int32(banking.Partitions) {
			for range n {
				if err := r.putOne(producer, topic, partition); err != nil {
					return fmt.Errorf("put poison on %s/%d: %w", topic, partition, err)
				}
			}
		}
	}
	return nil
}

func (r *round) putOne(producer sarama.SyncProducer, topic string, partition int32) error {
	serial := len(r.poison)
	id := fmt.Sprintf("order-%d", 900_000_000+serial)
	eventID := fmt.Sprintf("00000000-0000-4000-8000-%012d", serial)
	values := poisons(id, eventID)
	value := values[serial%len(values)]
	m := &sarama.ProducerMessage{
		Topic: topic, Partition: partition, Key: sarama.StringEncoder(id),
		Headers: []sarama.RecordHeader{
			{Key: []byte("eventId"), Value: []byte(eventID)}, {Key: []byte("eventType"), Value: []byte(typeOn(topic))},
		},
	}
	if value != nil {
		m.Value = sarama.ByteEncoder(value)
	}
	_, offset, err := producer.SendMessage(m)
	if err != nil {
		return err
	}
	p := vigie.At(topic, partition, offset)
	r.poison[p] = record{position: p, Key: id, Value: value}
	return nil
}

func typeOn(topic string) string {
	for _, t := range []string{banking.TypeOrderCreated, banking.TypePaymentAuthorized, banking.TypePaymentRejected} {
		if banking.TopicOf(t) == topic {
			return t
		}
	}
	return ""
}
