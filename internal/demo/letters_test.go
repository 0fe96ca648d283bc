package demo

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// letter is the dead letter of an order.
func letter(order, user, reason string, failedAt time.Time) record.Message {
	event := "event-" + order
	return record.Message{
		Topic: banking.TopicOrdersDLQ, Key: []byte(order),
		Value: fmt.Appendf(nil, `{"eventId":%q,"orderId":%q,"userId":%q,"amount":10.00,"items":[],"status":"CREATED","createdAt":"2026-11-28T12:00:00Z"}`,
			event, order, user),
		Headers: append(record.Origin{
			Place: record.At(banking.TopicOrdersCreated, 0, 7), EventID: event, Group: banking.GroupPaiement, Attempts: 3,
			Class: "transient", Reason: reason, Message: "authoriser failed", FailedAt: failedAt,
		}.Headers(), record.Header{Key: record.HeaderEventID, Value: []byte(event)}, record.Header{Key: record.HeaderEventType, Value: []byte("OrderCreated")}),
	}
}

func TestOnlyOldLettersOfItsOwnOrdersAreReplayed(t *testing.T) {
	cfg, client := testkafka.Embedded(t)
	publisher, err := kafka.NewPublisher(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = publisher.Close() })
	noon := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	put := func(messages ...record.Message) {
		for _, m := range messages {
			if err := publisher.Publish(t.Context(), kafka.Outgoing(m)); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(letter("order-1", UserPrefix+"customer-001", "authoriser", noon.Add(-time.Minute)),
		letter("order-2", "user123", "authoriser", noon.Add(-time.Minute)),
		letter("order-3", UserPrefix+"customer-002", "authoriser", noon.Add(time.Second)),
		letter("order-4", UserPrefix+"customer-002", "contradictory", noon.Add(-time.Minute)),
		record.Message{Topic: banking.TopicOrdersDLQ, Key: []byte("order-5"), Value: []byte("a stranger's")})
	instrument, err := otelkafka.New(otelkafka.WithTelemetry(telemetrytest.New(t, "vigie-demo", nil).Telemetry))
	if err != nil {
		t.Fatal(err)
	}
	letters := &Letters{Kafka: cfg, Instrument: instrument}
	replayed := func(before time.Time) int {
		t.Helper()
		n, err := letters.Replay(t.Context(), before)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i, want := range []struct {
		before time.Time
		n      int
	}{{noon, 1}, {noon, 0}, {noon.Add(time.Minute), 1}, {noon.Add(time.Hour), 0}} {
		if n := replayed(want.before); n != want.n {
			t.Errorf("replay %d: %d letters, want %d", i+1, n, want.n)
		}
	}
	// One that comes later than it says is not passed over.
	put(letter("order-6", UserPrefix+"customer-003", "authoriser", noon.Add(time.Hour-lateness/2)))
	if n := replayed(noon.Add(time.Hour)); n != 1 {
		t.Errorf("%d late letters were replayed", n)
	}
	if got, want := orders(t, cfg, client), []string{"order-1", "order-3", "order-6"}; !slices.Equal(got, want) {
		t.Errorf("replayed %v, want %v", got, want)
	}
}

// orders are the keys of orders.created, in order.
func orders(t *testing.T, cfg kafka.Config, client *kafka.Client) []string {
	t.Helper()
	spans, err := kafka.Bounds(t.Context(), client, banking.TopicOrdersCreated)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var keys []string
	if err := kafka.Scan(t.Context(), cfg, spans, func(r record.Record) error {
		mu.Lock()
		defer mu.Unlock()
		keys = append(keys, string(r.Key))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	return keys
}
