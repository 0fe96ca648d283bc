package commande

import (
	"context"
	_ "embed" // for the document
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/fault"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

//go:embed openapi.yaml
var openAPI []byte

// retryAfter is how long a client has to wait when Kafka does not answer.
const retryAfter = 2 * time.Second

// headerReplayed marks an answer that was given before, under the same key.
const headerReplayed = "Idempotent-Replayed"

// What became of a request whose key had been used before.
const (
	repeatReplayed = "replayed"
	repeatBusy     = "in_progress"
	repeatOther    = "mismatch"
)

// repeats are all of them: each is exported as zero from the start.
func repeats() []string { return []string{repeatReplayed, repeatBusy, repeatOther} }

// headerKey is the request header of draft-ietf-httpapi-idempotency-key-header.
const headerKey = "Idempotency-Key"

// maxKey bounds a key, in characters; the draft leaves that to the server.
const maxKey = 255

// errKey: the request's key cannot be used.
var errKey = errors.New("bad " + headerKey)

// publisher is what taking an order needs of Kafka.
type publisher interface {
	Publish(ctx context.Context, m *sarama.ProducerMessage) error
}

// orders takes orders: POST /orders.
type orders struct {
	keys       *keys
	probes     *probes // nil: there are none
	publisher  publisher
	others     *watch
	instrument *otelkafka.Instrumentation
	log        *slog.Logger
	lines      *service.OrderLog // one for each order
	ackTimeout time.Duration
	fault      *fault.Injector

	headers  recordHeaders
	total    metric.Int64Counter
	amounts  metric.Float64Histogram
	repeated metric.Int64Counter
}

// recordHeaders are what all records have in common of their headers, made once. Nobody changes them.
type recordHeaders struct {
	eventID   []byte // the name alone
	eventType sarama.RecordHeader
}

func newRecordHeaders() recordHeaders {
	return recordHeaders{
		[]byte(record.HeaderEventID), sarama.RecordHeader{Key: []byte(record.HeaderEventType), Value: []byte(banking.TypeOrderCreated)},
	}
}

// serveOrders adds the route to a service's router.
func serveOrders(ctx context.Context, b *service.Base, o *orders) error {
	if err := o.prepare(ctx, b.Telemetry.Instruments()); err != nil {
		return err
	}
	b.Router.HandleProbed("POST /orders", o.probes.claimed, o.create)
	return nil
}

// prepare makes what all orders share: the metrics, which are seen as zero before the first order, and headers.
func (o *orders) prepare(ctx context.Context, instruments *telemetry.Instruments) (err error) {
	o.headers = newRecordHeaders()
	if o.total, err = instruments.Int64Counter(ordersTotal); err != nil {
		return err
	}
	if o.amounts, err = instruments.Float64Histogram(orderAmountsEuros); err != nil {
		return err
	}
	if o.repeated, err = instruments.Int64Counter(ordersRepeated); err != nil {
		return err
	}
	o.total.Add(ctx, 0)
	for _, outcome := range repeats() {
		o.repeated.Add(ctx, 0, metric.WithAttributes(attribute.String("outcome", outcome)))
	}
	return nil
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
	key, err := readKey(r)
	if err != nil {
		refuse(w, err)
		return
	}
	known, isProbe := o.keys, o.probes.claimed(r)
	if isProbe {
		if known, err = o.probes.keysFor(r, known); err != nil {
			refuse(w, err)
			return
		}
		key = probeKey(key)
	}
	// A client that hangs up does not undo its order: the deadline is ours.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), o.ackTimeout)
	defer cancel()
	event, first, err := o.place(ctx, known, request, key)
	if err != nil {
		o.fail(ctx, w, event, err)
		return
	}
	switch {
	case isProbe:
		o.log.DebugContext(ctx, "probe taken", "order_id", event.OrderID)
	case first:
		o.total.Add(ctx, 1)
		o.amounts.Record(ctx, event.Amount.Euros())
		o.lines.Info(ctx, event.OrderID, "order created")
	default:
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
// is first unless another request with its key had brought it there. An error
// from before it was published is an [errUnpublished].
func (o *orders) place(
	ctx context.Context, known *keys, request banking.OrderRequest, key string,
) (event banking.OrderCreated, first bool, err error) {
	if key != "" {
		return known.place(ctx, key, request, o.publish)
	}
	event, err = known.draft(ctx, request)
	if err != nil {
		return event, false, fmt.Errorf("%w: %w", errUnpublished, err)
	}
	return event, true, o.publish(ctx, event)
}

// publish returns without error when all in-sync replicas have the record.
func (o *orders) publish(ctx context.Context, event banking.OrderCreated) error {
	value, err := banking.Encode(event)
	if err != nil {
		return fmt.Errorf("encode %s: %w", event.OrderID, err)
	}
	m := &sarama.ProducerMessage{
		Topic:   banking.TopicOrdersCreated,
		Key:     sarama.StringEncoder(event.OrderID),
		Value:   sarama.ByteEncoder(value),
		Headers: []sarama.RecordHeader{{Key: o.headers.eventID, Value: []byte(event.EventID)}, o.headers.eventType},
	}
	ctx, span := o.instrument.StartSend(ctx, m)
	if banking.IsProbe(event.OrderID) {
		span.LeaveOut()
	}
	o.fault.At(fault.BeforeOrder)
	err = o.publisher.Publish(ctx, m)
	if err != nil {
		span.End(-1, -1, err) // the record is still the producer's: its fields are not read
		return fmt.Errorf("publish %s: %w", event.OrderID, err)
	}
	o.fault.At(fault.AfterOrder)
	o.others.own(record.Partition{Topic: m.Topic, ID: m.Partition}, m.Offset)
	span.End(m.Partition, m.Offset, nil)
	return nil
}

func (o *orders) repeat(ctx context.Context, outcome string) {
	o.repeated.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
}

// fail answers an order that was not placed, or not for certain.
func (o *orders) fail(ctx context.Context, w http.ResponseWriter, event banking.OrderCreated, err error) {
	if errors.Is(err, errOtherRequest) {
		o.repeat(ctx, repeatOther)
		httpapi.WriteProblem(w, httpapi.Problem{
			Type:   httpapi.KeyReused,
			Detail: "This " + headerKey + " was used for an order with other members; a new order takes a new key.",
		})
		return
	}
	if busy, ok := errors.AsType[*busyError](err); ok {
		o.repeat(ctx, repeatBusy)
		httpapi.WriteProblem(w, httpapi.Problem{
			Type:       httpapi.KeyInUse,
			Detail:     "A request with this " + headerKey + " is under way; ask again with the same key.",
			RetryAfter: busy.left,
		})
		return
	}
	if errors.Is(err, errPartition) {
		refuse(w, errPartition)
		return
	}
	if errors.Is(err, kafka.ErrTooLarge) {
		o.log.ErrorContext(ctx, "order larger than its topic takes", "order_id", event.OrderID, "error", err)
		httpapi.WriteProblem(w, httpapi.Problem{
			Type: httpapi.LargeOrder, Detail: "The topic takes no record as large as this order's; nothing was done about it.",
		})
		return
	}
	o.log.ErrorContext(ctx, "order not acknowledged", "order_id", event.OrderID, "error", err)
	if errors.Is(err, errUnpublished) {
		httpapi.WriteProblem(w, httpapi.Problem{
			Type: httpapi.StorageAway, Detail: "The order could not be stored; nothing was done about it.", RetryAfter: retryAfter,
		})
		return
	}
	httpapi.WriteProblem(w, httpapi.Problem{
		Type:       httpapi.UnknownOutcome,
		Detail:     "The order could not be confirmed in time. It may or may not have been taken; with an " + headerKey + ", asking again is safe.",
		RetryAfter: retryAfter,
	})
}

// readOrder parses the body, which the router has read within its bounds.
func readOrder(r *http.Request) (banking.OrderRequest, error) {
	body, err := httpapi.Body(r)
	if err != nil {
		return banking.OrderRequest{}, err
	}
	return banking.ParseOrderRequest(body)
}

// refuse answers an order that cannot be taken, naming the field.
func refuse(w http.ResponseWriter, err error) {
	p := httpapi.Problem{Type: httpapi.InvalidRequest, Detail: "The body could not be read."}
	if errors.Is(err, errKey) {
		p.Detail = fmt.Sprintf("The header %s is to be one key of 1 to %d printable ASCII characters, in quotes or without.", headerKey, maxKey)
	}
	if errors.Is(err, errPartition) {
		p.Detail = "The header " + banking.HeaderProbePartition + " is to be a partition of " + banking.TopicOrdersCreated + "."
	}
	if f, ok := errors.AsType[*banking.FieldError](err); ok {
		p.Detail, p.Field, p.Problem, p.Accepted = f.Error(), f.Field, f.Problem, f.Accepted
	}
	httpapi.WriteProblem(w, p)
}

// readKey returns the hash of the request's key, "" where there is none. A key
// is 1 to 255 printable characters of ASCII: a string of structured fields (RFC
// 9651), as the draft has it, or the same without its quotes, as most clients
// send it. Only its hash is stored: what clients put into keys is their own.
//
// The hash covers the client too, where clients have tokens: two of them may
// come upon the same key, and neither is to see the other's order.
func readKey(r *http.Request) (string, error) {
	values := r.Header.Values(headerKey)
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", errKey
	}
	key := strings.Trim(values[0], " \t")
	if strings.HasPrefix(key, `"`) {
		var ok bool
		if key, ok = unquoted(key); !ok {
			return "", errKey
		}
	}
	if key == "" || len(key) > maxKey || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", errKey
	}
	return keyHash(httpapi.Client(r), key), nil
}

// keyHash is how a client's key is stored; "" is a client without a token.
func keyHash(client, key string) string {
	if client == "" {
		return hash(key)
	}
	return hash(client + "\n" + key) // no key has a line feed in it
}

// unquoted reads a string of structured fields: of escapes it knows \" and \\.
func unquoted(text string) (string, bool) {
	if len(text) < 2 || !strings.HasSuffix(text, `"`) {
		return "", false
	}
	var out strings.Builder
	for inner := text[1 : len(text)-1]; inner != ""; inner = inner[1:] {
		switch inner[0] {
		case '"':
			return "", false
		case '\\':
			if inner = inner[1:]; inner == "" || inner[0] != '"' && inner[0] != '\\' {
				return "", false
			}
		}
		out.WriteByte(inner[0])
	}
	return out.String(), true
}

// probeKey keeps the keys of probes from those of clients.
func probeKey(key string) string {
	if key == "" {
		return ""
	}
	return hash("probe\n" + key)
}
