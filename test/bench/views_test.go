package bench_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

// benchRecords is how many orders the views are filled with.
const benchRecords = 100_000

// BenchmarkCatchUp measures how fast suivi and analyseur read what is in the
// log into empty views: 100,000 orders for suivi, as many results for
// analyseur, one service at a time, each beside the embedded broker on the
// same two cores. It reports records a second.
func BenchmarkCatchUp(b *testing.B) {
	broker := bank.Launch(b, "broker", "--data", b.TempDir(), "--broker-addr", "127.0.0.1:0")
	address := broker.Stdout.Wait(b, `listens on (\S+)`, broker.Done)[1]
	made := bank.Launch(b, "topics", "--kafka-brokers", address)
	<-made.Done
	fillTopics(b, address, benchRecords, true)
	for b.Loop() {
		b.ReportMetric(catchUp(b, address, "suivi", "/orders?limit=1", "totalCount"), "suivi-records/s")
		b.ReportMetric(catchUp(b, address, "analyseur", "/statistics", "totalTransactions"), "analyseur-records/s")
	}
	b.ReportMetric(0, "ns/op")
}

// fillTopics publishes so many orders and, where wanted, their results.
func fillTopics(b *testing.B, address string, orders int, results bool) {
	b.Helper()
	p, err := kafka.NewPublisher(b.Context(), kafka.Config{Brokers: []string{address}})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	now := time.Now().UTC()
	var batch []*sarama.ProducerMessage
	for i := range orders {
		id := fmt.Sprintf("order-%d", i+1)
		order := banking.OrderCreated{
			EventID: banking.NewEventID(), OrderID: id, UserID: "user123", Amount: 10050, Items: []string{"item1", "item2"},
			Status: banking.StatusCreated, CreatedAt: now.Add(time.Duration(i) * time.Millisecond),
		}
		batch = append(batch, message(b, order))
		result := banking.PaymentAuthorized{
			EventID: banking.ResultEventID(order.EventID), OrderID: id, UserID: "user123", Amount: 10050,
			Status: banking.StatusAuthorized, AuthorizationCode: "AUTH-1", ProcessedAt: order.CreatedAt,
		}
		if results {
			batch = append(batch, message(b, result))
		}
		if len(batch) >= 10_000 || i == orders-1 {
			if err := p.PublishAll(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
			batch = nil
		}
	}
}

func message(b *testing.B, e banking.Event) *sarama.ProducerMessage {
	b.Helper()
	value, err := banking.Encode(e)
	if err != nil {
		b.Fatal(err)
	}
	return &sarama.ProducerMessage{
		Topic: banking.TopicOf(e.Type()), Key: sarama.StringEncoder(e.Order()), Value: sarama.ByteEncoder(value),
		Headers: []sarama.RecordHeader{
			{Key: []byte(record.HeaderEventID), Value: []byte(e.ID())},
			{Key: []byte(record.HeaderEventType), Value: []byte(e.Type())},
		},
	}
}

// catchUp starts a service on an empty folder and returns its records a second
// from its first to its last.
func catchUp(b *testing.B, address, service, path, field string) float64 {
	b.Helper()
	start := time.Now()
	p := bank.Launch(b, service, "--data", b.TempDir(), "--kafka-brokers", address, "--"+service+"-addr", "127.0.0.1:0", "--log-level", "warn")
	url := p.Stdout.Wait(b, `answers at (\S+)`, p.Done)[1]
	want := int64(benchRecords)
	bank.Eventually(b, func() error {
		var answer map[string]any
		bank.GetJSON(b, url+path, &answer)
		if n := int64(answer[field].(float64)); n < want {
			return fmt.Errorf("%s has %d of %d", service, n, want)
		}
		return nil
	})
	// suivi has read the orders and the results by then, in whatever order.
	records := want
	if service == "suivi" {
		bank.Eventually(b, func() error {
			_, all := bank.Scrape(b, url)
			return bank.LagIsZero(all)
		})
		records *= 2
	}
	rate := float64(records) / time.Since(start).Seconds()
	p.Stop()
	return rate
}
