//go:build unix

package otelkafka

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/IBM/sarama"
	"github.com/dnwe/otelsarama"
	"github.com/twmb/franz-go/pkg/kfake"
)

// benchOrder is a record's value of the size that orders have.
type benchOrder struct {
	EventID string  `json:"eventId"`
	OrderID string  `json:"orderId"`
	UserID  string  `json:"userId"`
	Amount  float64 `json:"amount"`
	Items   []struct {
		SKU      string `json:"sku"`
		Quantity int    `json:"quantity"`
	} `json:"items"`
	Status    string `json:"status"`
	CreatedAt string `json:"createdAt"`
}

// BenchmarkWrapConsumer reads the same partition with a handler that decodes each record, and with one that does
// nothing, which no handler does: then the wrapper's own cost is most of what is measured.
func BenchmarkWrapConsumer(b *testing.B) {
	for _, handler := range []string{"decode", "nothing"} {
		b.Run(handler, func(b *testing.B) {
			handle := func([]byte) {}
			if handler == "decode" {
				handle = func(value []byte) {
					var order benchOrder
					if err := json.Unmarshal(value, &order); err != nil {
						b.Error(err)
					}
				}
			}
			benchConsume(b, handle)
		})
	}
}

func benchConsume(b *testing.B, handle func([]byte)) {
	b.Helper()
	const n = 50_000
	tel, inst := benchInstrumentation(b)
	cluster := benchCluster(b)
	fillForConsume(b, cluster, inst, n)
	loop := func(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
		for msg := range claim.Messages() {
			handle(msg.Value)
			session.MarkMessage(msg, "")
		}
		return nil
	}
	decode := func(_ context.Context, _ sarama.ConsumerGroupSession, msg *sarama.ConsumerMessage) error {
		handle(msg.Value)
		return nil
	}
	side := func(name string, h sarama.ConsumerGroupHandler) benchSide {
		return benchSide{name, func(n int) { consumeBench(b, cluster, h, n) }}
	}
	compare(b, n,
		side("bare", loopHandler{loop}),
		side("otelkafka", NewHandler(inst, decode)),
		side("otelsarama", otelsarama.WrapConsumerGroupHandler(loopHandler{loop}, otelsaramaOptions(tel)...)),
		side("wrapped-loop", WrapConsumerGroupHandler(loopHandler{loop}, inst)))
}

// fillForConsume writes n records with trace context to partition 0.
func fillForConsume(b *testing.B, cluster *kfake.Cluster, inst *Instrumentation, n int) {
	b.Helper()
	config := wrapConfig()
	config.Producer.Partitioner = sarama.NewManualPartitioner
	p, err := sarama.NewSyncProducer(cluster.ListenAddrs(), config)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	for range n / 1000 {
		if err := WrapSyncProducer(p, inst).SendMessages(benchRecords(1000)); err != nil {
			b.Fatal(err)
		}
	}
}

// consumeBench gives the handler a claim over partition 0 that ends after n records.
func consumeBench(b *testing.B, cluster *kfake.Cluster, h sarama.ConsumerGroupHandler, n int) {
	b.Helper()
	consumer, err := sarama.NewConsumer(cluster.ListenAddrs(), wrapConfig())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = consumer.Close() }()
	partition, err := consumer.ConsumePartition("out", 0, sarama.OffsetOldest)
	if err != nil {
		b.Fatal(err)
	}
	defer partition.AsyncClose()
	session := &benchSession{ctx: b.Context(), last: int64(n - 1), end: partition.AsyncClose}
	if err := h.ConsumeClaim(session, benchClaim{partition}); err != nil {
		b.Fatal(fmt.Errorf("consume: %w", err))
	}
	if session.marked != n {
		b.Errorf("%d records marked, want %d", session.marked, n)
	}
}

type benchClaim struct{ sarama.PartitionConsumer }

func (benchClaim) Topic() string        { return "out" }
func (benchClaim) Partition() int32     { return 0 }
func (benchClaim) InitialOffset() int64 { return 0 }

// benchSession ends the claim when its last record is marked.
type benchSession struct {
	sarama.ConsumerGroupSession
	ctx    context.Context //nolint:containedctx // the session's
	marked int
	last   int64
	end    func()
}

func (s *benchSession) Context() context.Context { return s.ctx }

func (s *benchSession) MarkMessage(msg *sarama.ConsumerMessage, _ string) {
	s.marked++
	if msg.Offset == s.last {
		s.end()
	}
}
