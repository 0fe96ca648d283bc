package bench_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"

	"github.com/vigie-dev/vigie/internal/banking"
)

// bareOrders is the other side of BenchmarkPostOrders: net/http and sarama
// alone. It keeps commande's contract (the event with its ids and headers, the
// answer) and leaves out what is being measured: validation, telemetry,
// storage.
type bareOrders struct {
	producer sarama.SyncProducer
	last     atomic.Int64
}

// bareEvent is OrderCreated as a team without our banking package would have it.
type bareEvent struct {
	EventID   string      `json:"eventId"`
	OrderID   string      `json:"orderId"`
	UserID    string      `json:"userId"`
	Amount    json.Number `json:"amount"`
	Items     []string    `json:"items"`
	Status    string      `json:"status"`
	CreatedAt time.Time   `json:"createdAt"`
}

// newBareOrders serves it and returns its URL.
func newBareOrders(b *testing.B, broker string) string {
	b.Helper()
	server := httptest.NewServer(&bareOrders{producer: bareProducer(b, broker)})
	b.Cleanup(server.Close)
	return server.URL
}

func (o *bareOrders) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	event := bareEvent{
		EventID: uuid.NewString(), OrderID: "bare-" + strconv.FormatInt(o.last.Add(1), 10),
		Status: "CREATED", CreatedAt: time.Now().UTC(),
	}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &event)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := o.publish(event); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]string{
		"orderId": event.OrderID, "eventId": event.EventID, "status": "created",
		"message": "Order accepted; its payment will be decided shortly.",
	})
}

func (o *bareOrders) publish(event bareEvent) error {
	value, err := json.Marshal(event)
	if err != nil {
		return err
	}
	_, _, err = o.producer.SendMessage(&sarama.ProducerMessage{
		Topic: banking.TopicOrdersCreated, Key: sarama.StringEncoder(event.OrderID), Value: sarama.ByteEncoder(value),
		Headers: []sarama.RecordHeader{
			{Key: []byte("eventId"), Value: []byte(event.EventID)},
			{Key: []byte("eventType"), Value: []byte("OrderCreated")},
		},
	})
	return err
}

// newEcho serves even less: it publishes the body as it came and answers with
// a status alone.
func newEcho(b *testing.B, broker string) string {
	b.Helper()
	producer := bareProducer(b, broker)
	var last atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			_, _, err = producer.SendMessage(&sarama.ProducerMessage{
				Topic: banking.TopicOrdersCreated,
				Key:   sarama.StringEncoder("echo-" + strconv.FormatInt(last.Add(1), 10)),
				Value: sarama.ByteEncoder(body),
			})
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusCreated)
	}))
	b.Cleanup(server.Close)
	return server.URL
}

func bareProducer(b *testing.B, broker string) sarama.SyncProducer {
	b.Helper()
	cfg := sarama.NewConfig()
	cfg.Producer.Idempotent = true
	cfg.Producer.RequiredAcks = sarama.WaitForAll
	cfg.Producer.Return.Successes = true
	cfg.Net.MaxOpenRequests = 1
	producer, err := sarama.NewSyncProducer([]string{broker}, cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = producer.Close() })
	return producer
}
