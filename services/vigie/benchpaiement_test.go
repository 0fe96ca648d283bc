package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/services/internal/banking"
	"github.com/vigie-dev/vigie/services/internal/kafka"
)

// benchBroker is the broker to measure on: VIGIE_BENCH_BROKER, or the embedded
// one.
func benchBroker(b *testing.B) string {
	b.Helper()
	if address := os.Getenv("VIGIE_BENCH_BROKER"); address != "" {
		return address
	}
	broker := launch(b, "broker", "--data", b.TempDir(), "--broker-addr", "127.0.0.1:0")
	return broker.stdout.wait(b, `listens on (\S+)`, broker.done)[1]
}

// BenchmarkDecide compares paiement, its authoriser without latency, with the
// least that could do its work: a sarama consumer group that takes the same
// batches, writes one SQLite row per record in one synced transaction per
// batch, and sends one record each. Both read the same 100,000 orders and
// publish to the same broker. The ratio is that of the records a second.
func BenchmarkDecide(b *testing.B) {
	address := benchBroker(b)
	made := launch(b, "topics", "--kafka-brokers", address)
	<-made.done
	fillTopics(b, address, false)
	makeBenchTopic(b, address)
	for b.Loop() {
		bareDecideRate(b, address) // warms the broker up
		theirs := bareDecideRate(b, address)
		ours := decideRate(b, address)
		b.ReportMetric(ours, "orders/s")
		b.ReportMetric(ours/theirs, "ratio")
	}
	b.ReportMetric(0, "ns/op")
}

func decideRate(b *testing.B, address string) float64 {
	b.Helper()
	start := time.Now()
	p := launch(b, "paiement", "--data", b.TempDir(), "--kafka-brokers", address, "--paiement-addr", "127.0.0.1:0",
		"--paiement-latency", "0", "--log-level", "warn")
	url := p.stdout.wait(b, `answers at (\S+)`, p.done)[1]
	eventually(b, func() error {
		_, all := scrape(b, url)
		if n := all[`kafka_messages_consumed_total{service="paiement",topic="orders.created"}`]; n < benchRecords {
			return fmt.Errorf("%v orders consumed", n)
		}
		return nil
	})
	rate := benchRecords / time.Since(start).Seconds()
	p.stop()
	return rate
}

// benchResults is where the other side publishes: paiement would take results
// on its own topics for decisions.
const benchResults = "bench.results"

func makeBenchTopic(b *testing.B, address string) {
	b.Helper()
	client, err := kafka.Connect(b.Context(), kafka.Config{Brokers: []string{address}}, patience)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	topic := banking.Topic{Name: benchResults, Partitions: banking.Partitions, Retention: time.Hour}
	if _, err := kafka.EnsureTopics(client, []banking.Topic{topic}); err != nil {
		b.Fatal(err)
	}
}

// bareLoop is the other side's consumer.
type bareLoop struct {
	db       *sql.DB
	producer sarama.SyncProducer
	done     chan int
}

func (*bareLoop) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*bareLoop) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (l *bareLoop) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for first := range claim.Messages() {
		batch := []*sarama.ConsumerMessage{first}
	fill:
		for len(batch) < 500 {
			select {
			case m, ok := <-claim.Messages():
				if !ok {
					break fill
				}
				batch = append(batch, m)
			default:
				break fill
			}
		}
		if err := l.process(batch); err != nil {
			return err
		}
		session.MarkMessage(batch[len(batch)-1], "")
		l.done <- len(batch)
	}
	return nil
}

func (l *bareLoop) process(batch []*sarama.ConsumerMessage) error {
	tx, err := l.db.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	insert, err := tx.Prepare(`INSERT INTO ledger (order_id, value) VALUES ($1, $2)`)
	if err != nil {
		return err
	}
	defer func() { _ = insert.Close() }()
	results := make([]*sarama.ProducerMessage, len(batch))
	for i, m := range batch {
		if _, err := insert.Exec(string(m.Key), m.Value); err != nil {
			return err
		}
		results[i] = &sarama.ProducerMessage{
			Topic: benchResults, Key: sarama.ByteEncoder(m.Key), Value: sarama.ByteEncoder(m.Value),
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return l.producer.SendMessages(results)
}

func bareDecideRate(b *testing.B, address string) float64 {
	b.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "bare.db")+
		"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(`CREATE TABLE ledger (order_id TEXT NOT NULL PRIMARY KEY, value BYTEA)`); err != nil {
		b.Fatal(err)
	}
	cfg := sarama.NewConfig()
	cfg.Consumer.Offsets.Initial = sarama.OffsetOldest
	cfg.ChannelBufferSize = 1024
	cfg.Producer.Idempotent, cfg.Net.MaxOpenRequests, cfg.Producer.RequiredAcks = true, 1, sarama.WaitForAll
	cfg.Producer.Return.Successes = true
	producer, err := sarama.NewSyncProducer([]string{address}, cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = producer.Close() }()
	start := time.Now()
	group, err := sarama.NewConsumerGroup([]string{address}, fmt.Sprintf("bare-%d", start.UnixNano()), cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = group.Close() }()
	l := &bareLoop{db: db, producer: producer, done: make(chan int, 1024)}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- group.Consume(ctx, []string{banking.TopicOrdersCreated}, l) }()
	for left := benchRecords; left > 0; {
		select {
		case n := <-l.done:
			left -= n
		case err := <-ended:
			b.Fatal(err)
		}
	}
	rate := benchRecords / time.Since(start).Seconds()
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
	return rate
}
