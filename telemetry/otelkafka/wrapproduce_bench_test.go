//go:build unix

package otelkafka

import (
	"strconv"
	"sync"
	"testing"

	"github.com/IBM/sarama"
	"github.com/dnwe/otelsarama"
)

const benchValue = `{"eventId":"0196f3c2-6f0e-7c55-9f2b-0b8a7f1d2c3e","orderId":"order-123456","userId":"user-42",` +
	`"amount":129.95,"items":[{"sku":"A-100","quantity":2},{"sku":"B-7","quantity":1}],"status":"CREATED",` +
	`"createdAt":"2026-03-01T12:00:00.123456Z"}`

// benchRecords returns n records with what records of orders have: a key, a value and two headers.
func benchRecords(n int) []*sarama.ProducerMessage {
	eventType, value := []byte("OrderCreated"), sarama.ByteEncoder(benchValue)
	records := make([]*sarama.ProducerMessage, n)
	for i := range records {
		records[i] = &sarama.ProducerMessage{
			Topic: "out", Key: sarama.StringEncoder("order-" + strconv.Itoa(i)), Value: value,
			Headers: []sarama.RecordHeader{
				{Key: []byte("eventId"), Value: []byte("0196f3c2-6f0e-7c55-9f2b-0b8a7f1d2c3e")},
				{Key: []byte("eventType"), Value: eventType},
			},
		}
	}
	return records
}

func benchSyncSides(b *testing.B, run func(p sarama.SyncProducer, n int)) []benchSide {
	b.Helper()
	tel, inst := benchInstrumentation(b)
	cluster, config := benchCluster(b), wrapConfig()
	wraps := []func(sarama.SyncProducer) sarama.SyncProducer{
		func(p sarama.SyncProducer) sarama.SyncProducer { return p },
		func(p sarama.SyncProducer) sarama.SyncProducer { return WrapSyncProducer(p, inst) },
		func(p sarama.SyncProducer) sarama.SyncProducer {
			return otelsarama.WrapSyncProducer(config, p, otelsaramaOptions(tel)...)
		},
	}
	sides := make([]benchSide, len(wraps))
	for k, name := range []string{"bare", "otelkafka", "otelsarama"} {
		inner, err := sarama.NewSyncProducer(cluster.ListenAddrs(), config)
		if err != nil {
			b.Fatal(err)
		}
		p := wraps[k](inner)
		b.Cleanup(func() { _ = p.Close() })
		sides[k] = benchSide{name, func(n int) { run(p, n) }}
	}
	return sides
}

func BenchmarkWrapSyncProducer(b *testing.B) {
	const senders = 64
	compare(b, 12_800, benchSyncSides(b, func(p sarama.SyncProducer, n int) {
		var sending sync.WaitGroup
		for range senders {
			sending.Go(func() {
				for _, msg := range benchRecords(n / senders) {
					if _, _, err := p.SendMessage(msg); err != nil {
						b.Error(err)
					}
				}
			})
		}
		sending.Wait()
	})...)
}

func BenchmarkWrapSyncProducerBatch(b *testing.B) {
	const batch = 500
	compare(b, 12_800, benchSyncSides(b, func(p sarama.SyncProducer, n int) {
		for range n / batch {
			if err := p.SendMessages(benchRecords(batch)); err != nil {
				b.Error(err)
			}
		}
	})...)
}

func BenchmarkWrapAsyncProducer(b *testing.B) {
	tel, inst := benchInstrumentation(b)
	cluster, config := benchCluster(b), wrapConfig()
	wraps := []func(sarama.AsyncProducer) sarama.AsyncProducer{
		func(p sarama.AsyncProducer) sarama.AsyncProducer { return p },
		func(p sarama.AsyncProducer) sarama.AsyncProducer { return WrapAsyncProducer(p, config, inst) },
		func(p sarama.AsyncProducer) sarama.AsyncProducer {
			return otelsarama.WrapAsyncProducer(config, p, otelsaramaOptions(tel)...)
		},
	}
	sides := make([]benchSide, len(wraps))
	for k, name := range []string{"bare", "otelkafka", "otelsarama"} {
		inner, err := sarama.NewAsyncProducer(cluster.ListenAddrs(), config)
		if err != nil {
			b.Fatal(err)
		}
		p := wraps[k](inner)
		b.Cleanup(func() { _ = p.Close() })
		sides[k] = benchSide{name, func(n int) { sendAsync(b, p, n) }}
	}
	compare(b, 12_800, sides...)
}

func sendAsync(b *testing.B, p sarama.AsyncProducer, n int) {
	b.Helper()
	var sending sync.WaitGroup
	sending.Go(func() {
		for range n / 100 {
			for _, msg := range benchRecords(100) {
				p.Input() <- msg
			}
		}
	})
	for range n / 100 * 100 {
		select {
		case <-p.Successes():
		case err := <-p.Errors():
			b.Error(err)
		}
	}
	sending.Wait()
}
