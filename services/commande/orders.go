package commande

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/services/internal/banking"
	"github.com/vigie-dev/vigie/services/internal/fault"
	"github.com/vigie-dev/vigie/services/internal/httpapi"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

// retryAfter is what a client is told to wait when Kafka does not answer.
const retryAfter = 2 * time.Second

// publisher is what taking an order needs of Kafka.
type publisher interface {
	Publish(ctx context.Context, m *sarama.ProducerMessage) error
}

// orders takes orders: POST /orders.
type orders struct {
	ids        *ids
	publisher  publisher
	instrument *otelkafka.Instrumentation
	log        *slog.Logger
	ackTimeout time.Duration
	fault      *fault.Injector

	total   metric.Int64Counter
	amounts metric.Float64Histogram
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
	request, err := readOrder(w, r)
	if err != nil {
		refuse(w, err)
		return
	}
	event, err := o.place(r.Context(), request)
	if err != nil {
		o.log.ErrorContext(r.Context(), "order not acknowledged", "order_id", event.OrderID, "error", err)
		httpapi.WriteProblem(w, httpapi.Problem{
			Status:     http.StatusServiceUnavailable,
			Detail:     "The order could not be confirmed in time. It may or may not have been taken.",
			RetryAfter: retryAfter,
		})
		return
	}
	o.total.Add(r.Context(), 1)
	o.amounts.Record(r.Context(), event.Amount.Euros())
	o.log.InfoContext(r.Context(), "order created", "order_id", event.OrderID)
	httpapi.WriteJSON(w, http.StatusCreated, accepted{
		OrderID: event.OrderID, EventID: event.EventID, Status: "created",
		Message: "Order accepted; its payment will be decided shortly.",
	})
}

// place gives the order its ids and publishes it. It returns without error
// when all in-sync replicas have the record.
func (o *orders) place(ctx context.Context, request banking.OrderRequest) (banking.OrderCreated, error) {
	// A client that hangs up does not undo its order: the deadline is ours.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.ackTimeout)
	defer cancel()
	id, err := o.ids.take(ctx)
	if err != nil {
		return banking.OrderCreated{}, err
	}
	event := banking.OrderCreated{
		EventID: banking.NewEventID(), OrderID: id, UserID: request.UserID, Amount: request.Amount,
		Items: request.Items, Status: banking.StatusCreated, CreatedAt: time.Now().UTC().Truncate(time.Microsecond),
	}
	value, err := banking.Encode(event)
	if err != nil {
		return event, fmt.Errorf("encode %s: %w", id, err)
	}
	m := &sarama.ProducerMessage{
		Topic: banking.TopicOrdersCreated,
		Key:   sarama.StringEncoder(id),
		Value: sarama.ByteEncoder(value),
		Headers: []sarama.RecordHeader{
			{Key: []byte(banking.HeaderEventID), Value: []byte(event.EventID)},
			{Key: []byte(banking.HeaderEventType), Value: []byte(event.Type())},
		},
	}
	ctx, span := o.instrument.StartSend(ctx, m)
	o.fault.At(fault.BeforeOrder)
	err = o.publisher.Publish(ctx, m)
	if err != nil {
		span.End(-1, -1, err) // the record is still the producer's: its fields are not read
		return event, fmt.Errorf("publish %s: %w", id, err)
	}
	o.fault.At(fault.AfterOrder)
	span.End(m.Partition, m.Offset, nil)
	return event, nil
}

// readOrder takes the body within its bound and parses it.
func readOrder(w http.ResponseWriter, r *http.Request) (banking.OrderRequest, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, banking.MaxBody))
	if err != nil {
		return banking.OrderRequest{}, fmt.Errorf("read body: %w", err)
	}
	return banking.ParseOrderRequest(body)
}

// refuse answers an order that cannot be taken, naming the field.
func refuse(w http.ResponseWriter, err error) {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		httpapi.WriteProblem(w, httpapi.Problem{
			Status: http.StatusRequestEntityTooLarge,
			Detail: fmt.Sprintf("The body is too large; at most %d bytes are accepted.", banking.MaxBody),
		})
		return
	}
	p := httpapi.Problem{Status: http.StatusBadRequest, Detail: "The body could not be read."}
	if f, ok := errors.AsType[*banking.FieldError](err); ok {
		p.Detail, p.Field, p.Problem, p.Accepted = f.Error(), f.Field, f.Problem, f.Accepted
	}
	httpapi.WriteProblem(w, p)
}
