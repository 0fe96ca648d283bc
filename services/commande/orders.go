package commande

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/fault"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

// publisher is what taking an order needs of Kafka.
type publisher interface {
	Publish(ctx context.Context, m *sarama.ProducerMessage) error
}

// afterwards bounds what is noted in storage once it is known what became of
// an order: its own deadline may have passed.
const afterwards = 2 * time.Second

// orders takes orders: POST /orders.
type orders struct {
	ids        *ids
	keys       *keys
	publisher  publisher
	instrument *otelkafka.Instrumentation
	log        *slog.Logger
	ackTimeout time.Duration
	fault      *fault.Injector

	total    metric.Int64Counter
	amounts  metric.Float64Histogram
	repeated metric.Int64Counter
}

// accepted is the answer to an order that Kafka has acknowledged.
type accepted struct {
	OrderID string `json:"orderId"`
	EventID string `json:"eventId"`
	Status  string `json:"status"`
	Message string `json:"message"`
}

// create validates, publishes, and answers 201 once Kafka has the order. Only
// then does it count.
func (o *orders) create(w http.ResponseWriter, r *http.Request) {
	request, err := readOrder(r)
	if err != nil {
		refuse(w, err)
		return
	}
	key, err := readKey(r.Header)
	if err != nil {
		refuse(w, err)
		return
	}
	// A client that hangs up does not undo its order: the deadline is ours.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), o.ackTimeout)
	defer cancel()
	event, first, err := o.place(ctx, request, key)
	if err != nil {
		o.fail(ctx, w, event, err)
		return
	}
	if first {
		o.total.Add(ctx, 1)
		o.amounts.Record(ctx, event.Amount.Euros())
		o.log.InfoContext(ctx, "order created", "order_id", event.OrderID)
	} else {
		o.repeat(ctx, repeatReplayed)
		w.Header().Set(headerReplayed, "true")
		o.log.DebugContext(ctx, "answered from its key", "order_id", event.OrderID)
	}
	httpapi.WriteJSON(w, http.StatusCreated, accepted{
		OrderID: event.OrderID, EventID: event.EventID, Status: "created",
		Message: "Order accepted; its payment will be decided shortly.",
	})
}

// place returns without error when all in-sync replicas have the order, which
// is new unless another request with its key had brought it there.
func (o *orders) place(ctx context.Context, request banking.OrderRequest, key string) (event banking.OrderCreated, first bool, err error) {
	if key != "" {
		return o.placeOnce(ctx, request, key)
	}
	event, err = o.draft(ctx, request)
	if err != nil {
		return event, false, err
	}
	return event, true, o.publish(ctx, event)
}

// placeOnce is place for a request with a key: the order has its ids in storage
// before it is published.
func (o *orders) placeOnce(ctx context.Context, request banking.OrderRequest, key string) (banking.OrderCreated, bool, error) {
	h, err := o.keys.reserve(ctx, key, request, o.draft)
	if err != nil || h.acknowledged {
		return h.event, false, err
	}
	err = o.publish(ctx, h.event)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
	defer cancel()
	if err != nil {
		return h.event, false, errors.Join(err, o.keys.free(ctx, h))
	}
	first, err := o.keys.settle(ctx, h)
	if err != nil {
		// Kafka has the order all the same. The next request with the key
		// publishes the same event once more, which readers know.
		o.log.WarnContext(ctx, "key not settled", "order_id", h.event.OrderID, "error", err)
		first = true
	}
	return h.event, first, nil
}

// draft gives an order its ids.
func (o *orders) draft(ctx context.Context, request banking.OrderRequest) (banking.OrderCreated, error) {
	id, err := o.ids.take(ctx)
	if err != nil {
		return banking.OrderCreated{}, err
	}
	return newEvent(id, banking.NewEventID(), request, time.Now().UTC().Truncate(time.Microsecond)), nil
}

func newEvent(order, event string, request banking.OrderRequest, at time.Time) banking.OrderCreated {
	return banking.OrderCreated{
		EventID: event, OrderID: order, UserID: request.UserID, Amount: request.Amount,
		Items: request.Items, Status: banking.StatusCreated, CreatedAt: at,
	}
}

// publish returns without error when all in-sync replicas have the record.
func (o *orders) publish(ctx context.Context, event banking.OrderCreated) error {
	value, err := banking.Encode(event)
	if err != nil {
		return fmt.Errorf("encode %s: %w", event.OrderID, err)
	}
	m := &sarama.ProducerMessage{
		Topic: banking.TopicOrdersCreated,
		Key:   sarama.StringEncoder(event.OrderID),
		Value: sarama.ByteEncoder(value),
		Headers: []sarama.RecordHeader{
			{Key: []byte(record.HeaderEventID), Value: []byte(event.EventID)},
			{Key: []byte(record.HeaderEventType), Value: []byte(event.Type())},
		},
	}
	ctx, span := o.instrument.StartSend(ctx, m)
	o.fault.At(fault.BeforeOrder)
	err = o.publisher.Publish(ctx, m)
	if err != nil {
		span.End(-1, -1, err) // the record is still the producer's: its fields are not read
		return fmt.Errorf("publish %s: %w", event.OrderID, err)
	}
	o.fault.At(fault.AfterOrder)
	span.End(m.Partition, m.Offset, nil)
	return nil
}
