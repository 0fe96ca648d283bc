//go:build !race || whole

package system_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

// consume reads n records of a topic from its start.
func consume(t *testing.T, brokers, topic string, n int) []*sarama.ConsumerMessage {
	t.Helper()
	consumer, err := sarama.NewConsumer([]string{brokers}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := consumer.Close(); err != nil {
			t.Error(err)
		}
	}()
	var all []*sarama.ConsumerMessage
	for p := range int32(banking.Partitions) {
		client, err := sarama.NewClient([]string{brokers}, nil)
		if err != nil {
			t.Fatal(err)
		}
		end, err := client.GetOffset(topic, p, sarama.OffsetNewest)
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		part, err := consumer.ConsumePartition(topic, p, sarama.OffsetOldest)
		if err != nil {
			t.Fatal(err)
		}
		for range end {
			select {
			case m := <-part.Messages():
				all = append(all, m)
			case <-time.After(bank.Patience):
				t.Fatalf("%s/%d ends at %d, and has only %d records", topic, p, end, len(all))
			}
		}
		if err := part.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(all) != n {
		t.Fatalf("%d records on %s, want %d", len(all), topic, n)
	}
	return all
}

func header(m *sarama.ConsumerMessage, name string) string {
	for _, h := range m.Headers {
		if string(h.Key) == name {
			return string(h.Value)
		}
	}
	return ""
}

// What stands in Kafka is what the contract says: keys, headers, values, and
// one trace per order from the HTTP request on, through the outbox too.
func TestRecordsAndTheirTraceContext(t *testing.T) { bank.OnEach(t, recordsAndTheirTraceContext) }

func recordsAndTheirTraceContext(t *testing.T, start bank.Deployment) {
	s := start(t, t.TempDir(), "--log-level", "warn")
	const n = 20
	placedBy := map[string]bank.Placed{}
	for i := range n {
		p := s.MustOrder(t, fmt.Sprintf("%d.5", i+1))
		placedBy[p.OrderID] = p
	}
	st := s.Settled(t, n)
	traces := map[string]string{}
	for _, m := range consume(t, s.Brokers, banking.TopicOrdersCreated, n) {
		var value map[string]any
		if err := json.Unmarshal(m.Value, &value); err != nil {
			t.Fatal(err)
		}
		id := string(m.Key)
		if value["orderId"] != id || value["eventId"] != placedBy[id].EventID || value["status"] != "CREATED" || value["userId"] != "user123" {
			t.Errorf("%s: value %s", id, m.Value)
		}
		if header(m, "eventId") != placedBy[id].EventID || header(m, "eventType") != "OrderCreated" {
			t.Errorf("%s: headers %v", id, m.Headers)
		}
		traces[id] = traceID(t, m)
	}
	results := append(consume(t, s.Brokers, banking.TopicPaymentsAuthorized, int(st.AuthorizedTransactions)),
		consume(t, s.Brokers, banking.TopicPaymentsRejected, int(st.RejectedTransactions))...)
	seen := map[string]bool{}
	for _, m := range results {
		id := string(m.Key)
		if header(m, "originalEventId") != placedBy[id].EventID || header(m, "eventId") == "" || seen[header(m, "eventId")] {
			t.Errorf("%s: headers %v", id, m.Headers)
		}
		seen[header(m, "eventId")] = true
		if want := map[string]string{
			banking.TopicPaymentsAuthorized: "PaymentAuthorized", banking.TopicPaymentsRejected: "PaymentRejected",
		}[m.Topic]; header(m, "eventType") != want {
			t.Errorf("%s: event type %s on %s", id, header(m, "eventType"), m.Topic)
		}
		if got := traceID(t, m); got != traces[id] {
			t.Errorf("%s: the result is in trace %s, the order in %s", id, got, traces[id])
		}
	}
}

func traceID(t *testing.T, m *sarama.ConsumerMessage) string {
	t.Helper()
	parts := strings.Split(header(m, "traceparent"), "-")
	if len(parts) != 4 || len(parts[1]) != 32 {
		t.Fatalf("record %s has traceparent %q", m.Key, header(m, "traceparent"))
	}
	return parts[1]
}
