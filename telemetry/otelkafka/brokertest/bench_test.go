//go:build unix

package brokertest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/dnwe/otelsarama"
	"github.com/twmb/franz-go/pkg/kfake"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

// These compare the wrappers with the same code on bare sarama and with dnwe/otelsarama, in one run: each iteration
// gives every side the same records, in turns. Metrics are on, a tenth of the traces is sampled and goes to an
// exporter that drops it. "ratio" is bare sarama's time by ours, the median over the iterations; "cpu-ratio" is the
// same of the CPU time of the whole process, the broker included, which other load on the machine disturbs less.
//
//	go test -run '^$' -bench Wrap -benchtime 20x . # in this folder

// benchSide does the benchmark's work for n records.
type benchSide struct {
	name string
	run  func(n int)
}

// compare runs the sides in turns; the first is the one to compare with.
func compare(b *testing.B, n int, sides ...benchSide) {
	b.Helper()
	wall, cpu := make([][]float64, len(sides)), make([][]float64, len(sides))
	for _, side := range sides {
		side.run(n) // warms up
	}
	turn := 0
	for b.Loop() {
		for k := range sides {
			k = (k + turn) % len(sides)
			start, busy := time.Now(), cpuTime()
			sides[k].run(n)
			wall[k] = append(wall[k], time.Since(start).Seconds())
			cpu[k] = append(cpu[k], (cpuTime() - busy).Seconds())
		}
		turn++
	}
	for k, side := range sides {
		b.ReportMetric(float64(n)/middle(wall[k]), side.name+"-records/s")
		if k > 0 {
			b.ReportMetric(medianRatio(wall[0], wall[k]), side.name+"-ratio")
			b.ReportMetric(medianRatio(cpu[0], cpu[k]), side.name+"-cpu-ratio")
		}
	}
	b.ReportMetric(medianRatio(wall[0], wall[1]), "ratio")
	b.ReportMetric(0, "ns/op")
}

func medianRatio(base, other []float64) float64 {
	ratios := make([]float64, len(base))
	for n := range base {
		ratios[n] = base[n] / other[n]
	}
	return middle(ratios)
}

func middle(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// benchInstrumentation has metrics on and a tenth of the traces sampled.
func benchInstrumentation(b *testing.B) (*telemetry.Telemetry, *otelkafka.Instrumentation) {
	b.Helper()
	b.Setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
	b.Setenv("OTEL_TRACES_SAMPLER_ARG", "0.1")
	tel, err := telemetry.Setup(b.Context(), telemetry.Config{
		Service:        "bench",
		SpanProcessors: []sdktrace.SpanProcessor{sdktrace.NewBatchSpanProcessor(tracetest.NewNoopExporter())},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = tel.Shutdown(context.Background()) })
	inst, err := otelkafka.New(otelkafka.WithTelemetry(tel), otelkafka.Options{ConsumerGroup: "g", Produces: []string{"out"}, Consumes: []string{"out"}})
	if err != nil {
		b.Fatal(err)
	}
	return tel, inst
}

func benchCluster(b *testing.B) *kfake.Cluster {
	b.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "out"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(cluster.Close)
	return cluster
}

func otelsaramaOptions(tel *telemetry.Telemetry) []otelsarama.Option {
	return []otelsarama.Option{
		otelsarama.WithTracerProvider(tel.TracerProvider()), otelsarama.WithPropagators(tel.Propagator()),
	}
}

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
		func(p sarama.SyncProducer) sarama.SyncProducer { return otelkafka.WrapSyncProducer(p, inst) },
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
		func(p sarama.AsyncProducer) sarama.AsyncProducer { return otelkafka.WrapAsyncProducer(p, config, inst) },
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
	fillForConsume(b, cluster, inst, 0, n)
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
		side("otelkafka", otelkafka.NewHandler(inst, decode)),
		side("otelsarama", otelsarama.WrapConsumerGroupHandler(loopHandler{loop}, otelsaramaOptions(tel)...)))
}

// BenchmarkConsumerGroup has a member of a group read three partitions at once, with its lag, rebalances and marks followed.
func BenchmarkConsumerGroup(b *testing.B) {
	const n = 60_000
	_, inst := benchInstrumentation(b)
	cluster, config := benchCluster(b), wrapConfig()
	config.Consumer.Offsets.AutoCommit.Enable = false // each run reads everything again
	for partition := range int32(3) {
		fillForConsume(b, cluster, inst, partition, n/3)
	}
	decode := func(value []byte) {
		var order benchOrder
		if err := json.Unmarshal(value, &order); err != nil {
			b.Error(err)
		}
	}
	run := func(group sarama.ConsumerGroup, handler func(done func()) sarama.ConsumerGroupHandler) {
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		var read atomic.Int64
		h := handler(func() {
			if read.Add(1) == n {
				cancel()
			}
		})
		if err := group.Consume(ctx, []string{"out"}, h); err != nil {
			b.Error(err)
		}
		if err := group.Close(); err != nil {
			b.Error(err)
		}
	}
	compare(b, n,
		benchSide{"bare", func(int) {
			group, err := sarama.NewConsumerGroup(cluster.ListenAddrs(), "g", config)
			if err != nil {
				b.Fatal(err)
			}
			run(group, func(done func()) sarama.ConsumerGroupHandler {
				return loopHandler{func(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
					for msg := range claim.Messages() {
						decode(msg.Value)
						session.MarkMessage(msg, "")
						done()
					}
					return nil
				}}
			})
		}},
		benchSide{"otelkafka", func(int) {
			group, err := otelkafka.NewConsumerGroup(cluster.ListenAddrs(), "g", config, inst)
			if err != nil {
				b.Fatal(err)
			}
			run(group, func(done func()) sarama.ConsumerGroupHandler {
				return otelkafka.NewHandler(inst, func(_ context.Context, _ sarama.ConsumerGroupSession, msg *sarama.ConsumerMessage) error {
					decode(msg.Value)
					done()
					return nil
				})
			})
		}})
}

// fillForConsume writes n records with trace context to a partition.
func fillForConsume(b *testing.B, cluster *kfake.Cluster, inst *otelkafka.Instrumentation, partition int32, n int) {
	b.Helper()
	config := wrapConfig()
	config.Producer.Partitioner = sarama.NewManualPartitioner
	p, err := sarama.NewSyncProducer(cluster.ListenAddrs(), config)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	for range n / 1000 {
		records := benchRecords(1000)
		for _, msg := range records {
			msg.Partition = partition
		}
		if err := otelkafka.WrapSyncProducer(p, inst).SendMessages(records); err != nil {
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
