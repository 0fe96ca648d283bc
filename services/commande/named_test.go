package commande

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/storage"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

// message is an event as a service publishes it.
func message(t *testing.T, e banking.Event) record.Message {
	t.Helper()
	m, err := delivery.Encode(e, "cause")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func orderMessage(t *testing.T, id string) record.Message {
	t.Helper()
	return message(t, newEvent(id, "event-"+id, banking.OrderRequest{UserID: "u", Amount: 500}, time.Unix(1, 0)))
}

func paymentMessage(t *testing.T, id string) record.Message {
	t.Helper()
	return message(t, banking.PaymentAuthorized{
		EventID: "paid-" + id, OrderID: id, UserID: "u", Amount: 500, Status: banking.StatusAuthorized, AuthorizationCode: "A", ProcessedAt: time.Unix(1, 0),
	})
}

// letterOf is the dead letter of a record.
func letterOf(m record.Message) record.Message {
	origin := record.Origin{Place: record.At(m.Topic, 0, 7), EventID: "e", Group: banking.GroupPaiement, Attempts: 1, Class: "reject", FailedAt: time.Unix(1, 0)}
	return record.Message{Topic: banking.DeadLetterTopic(m.Topic), Key: m.Key, Value: m.Value, Headers: append(origin.Headers(), m.Headers...)}
}

func TestWhichNumbersRecordsName(t *testing.T) {
	order := orderMessage(t, "order-12")
	marker := record.Marker{Letter: record.At(banking.TopicOrdersDLQ, 0, 3), Resolution: record.Purged, At: time.Unix(1, 0), EventID: "e"}
	with := func(m record.Message, change func(*record.Message)) record.Message { change(&m); return m }
	for name, tt := range map[string]struct {
		message record.Message
		want    int64 // 0: none
	}{
		"an order":            {order, 12},
		"a payment":           {paymentMessage(t, "order-13"), 13},
		"an order set aside":  {letterOf(order), 12},
		"a payment set aside": {letterOf(paymentMessage(t, "order-13")), 13},
		"a purge":             {marker.Message([]byte("order-14")), 14},
		"the largest":         {orderMessage(t, "order-9223372036854775807"), math.MaxInt64},
		"no number of ours":   {orderMessage(t, "order-9223372036854775808"), 0},
		"not as it is given":  {orderMessage(t, "order-012"), 0},
		"another kind of id":  {orderMessage(t, "cart-12"), 0},
		"a probe":             {orderMessage(t, banking.NewProbeID(41)), 41},
		"a probe set aside":   {letterOf(orderMessage(t, banking.NewProbeID(41))), 41},
		"one that knows none": {orderMessage(t, banking.NewProbeID(unknown)), 0},
		"no order":            {with(order, func(m *record.Message) { m.Value = []byte("{}") }), 0},
		"no order, set aside": {letterOf(with(order, func(m *record.Message) { m.Value = []byte("{}") })), 0},
		"another's key":       {with(order, func(m *record.Message) { m.Key = []byte("order-99") }), 0},
	} {
		got, ok := naming(record.Record{Place: record.At(tt.message.Topic, 0, 0), Key: tt.message.Key, Value: tt.message.Value, Headers: tt.message.Headers})
		if ok != (tt.want != 0) || ok && got.number != tt.want {
			t.Errorf("%s names %d, %v; want %d", name, got.number, ok, tt.want)
		}
	}
}

func TestWhereIDsGoOn(t *testing.T) {
	for name, tt := range map[string]struct {
		named      named
		next, want int64
	}{
		"a fresh system":                     {named{}, 1, 1},
		"all is known":                       {named{highest: 40, published: 40}, 1001, 1001},
		"a storage that is lost":             {named{highest: 40, published: 40}, 1, 41},
		"and the log was cut":                {named{highest: 40, published: 40, cut: true}, 1, 41 * margin},
		"and it was emptied":                 {named{published: 40, cut: true}, 1, 41 * margin},
		"cut, and the storage is there":      {named{highest: 40, published: 40, cut: true}, 1001, 1001},
		"after a margin":                     {named{published: 40, cut: true}, 41 + margin, 41 + margin},
		"an older copy, and the log was cut": {named{highest: 5, published: 3000, cut: true}, 1001, 3001 * margin},
		"nearly too large":                   {named{published: 1}, 1001 * margin, 1001 * margin},
		"a storage with the largest number":  {named{highest: 40, published: 40}, math.MaxInt64, 41},
		"a storage beyond it":                {named{highest: 40, published: 40, cut: true}, math.MinInt64, 41 * margin},
		"as many orders as there can be":     {named{highest: 40, published: math.MaxInt64 / 2}, math.MaxInt64 - 1, math.MaxInt64 - 1},
	} {
		if got := tt.named.after(tt.next); got != tt.want {
			t.Errorf("%s: ids go on at %d, want %d", name, got, tt.want)
		}
	}
}

// city is a broker with a folder for commande's storage.
type city struct {
	cfg      kafka.Config
	client   *kafka.Client
	settings service.Settings
}

func openCity(t *testing.T) *city {
	t.Helper()
	cfg, client := testkafka.Embedded(t)
	return &city{cfg, client, service.Settings{Address: "127.0.0.1:0", Brokers: cfg.Brokers, LogWriter: io.Discard, DatabaseURL: "sqlite:" + t.TempDir()}}
}

// order starts commande, places an order and stops it again.
func (c *city) order(t *testing.T) (string, error) {
	t.Helper()
	s, err := Start(t.Context(), c.settings, Config{})
	if err != nil {
		return "", err
	}
	defer func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/orders", strings.NewReader(`{"userId":"u","amount":1}`))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	_, id, _ := strings.Cut(string(body), `"orderId":"`)
	id, _, _ = strings.Cut(id, `"`)
	return id, errors.Join(err, answer.Body.Close())
}

// skip does what a reset does to commande.
func (c *city) skip(t *testing.T) (foreign int) {
	t.Helper()
	s, err := OpenStorage(t.Context(), c.settings.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err = SkipIDs(t.Context(), s, kafka.Cluster{Config: c.cfg, Client: c.client})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return foreign
}

func (c *city) lose(t *testing.T) { t.Helper(); c.settings.DatabaseURL = "sqlite:" + t.TempDir() }

func (c *city) publish(t *testing.T, messages ...record.Message) {
	t.Helper()
	p, err := kafka.NewPublisher(t.Context(), c.cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		err = errors.Join(err, p.Publish(t.Context(), kafka.Outgoing(m)))
	}
	if err := errors.Join(err, p.Close()); err != nil {
		t.Fatal(err)
	}
}

// cut has retention delete all orders.
func (c *city) cut(t *testing.T) {
	t.Helper()
	spans, err := kafka.Bounds(t.Context(), c.client, banking.TopicOrdersCreated)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := sarama.NewClusterAdminFromClient(c.client.Client) // not closed: the client is shared
	if err != nil {
		t.Fatal(err)
	}
	ends := map[int32]int64{}
	for _, s := range spans {
		if s.End > 0 {
			ends[s.ID] = s.End
		}
	}
	if err := admin.DeleteRecords(banking.TopicOrdersCreated, ends); err != nil {
		t.Fatal(err)
	}
}

// A record with the largest number stops nothing, nor does a reset on it.
func TestTheLargestOrderIDStopsNothing(t *testing.T) {
	c := openCity(t)
	for i, want := range []string{"order-1", "order-2", "order-3"} {
		got, err := c.order(t)
		if err != nil || got != want {
			t.Errorf("%s is %q, %v", want, got, err)
		}
		switch i {
		case 0:
			c.publish(t, orderMessage(t, "order-9223372036854775807"), orderMessage(t, "order-9223372036854774808"))
		case 1:
			if foreign := c.skip(t); foreign != 2 {
				t.Errorf("%d records are foreign, want 2", foreign)
			}
		}
	}
}

// Ids go on after every order that any topic names, when the storage is lost
// and the orders themselves have been deleted.
func TestIDsGoOnWhenOrdersAndStorageAreLost(t *testing.T) {
	for name, tt := range map[string]struct {
		left record.Message
		want string
	}{
		"a payment is left":     {paymentMessage(t, "order-700"), fmt.Sprint("order-", 2*margin)},
		"a dead letter is left": {letterOf(orderMessage(t, "order-700")), fmt.Sprint("order-", 2*margin)},
		"nothing is left":       {record.Message{}, fmt.Sprint("order-", 2*margin)},
	} {
		t.Run(name, func(t *testing.T) {
			c := openCity(t)
			if id, err := c.order(t); err != nil || id != "order-1" {
				t.Fatalf("%q, %v", id, err)
			}
			if tt.left.Topic != "" {
				c.publish(t, tt.left)
			}
			c.cut(t)
			c.lose(t)
			if id, err := c.order(t); !errors.Is(err, ErrIDsBehind) {
				t.Errorf("without its storage commande gives %q, %v", id, err)
			}
			for range 2 { // a reset that is done again moves them no further
				if foreign := c.skip(t); foreign != 0 {
					t.Errorf("%d records are foreign", foreign)
				}
			}
			if id, err := c.order(t); err != nil || id != tt.want {
				t.Errorf("after a reset %q, %v; want %s", id, err, tt.want)
			}
		})
	}
}

// Where the log has been cut and holds probes alone, the first order is the first: nobody
// has to know that by heart. Where they name an order, ids go on after it.
func TestProbesSayWhereIDsGoOn(t *testing.T) {
	for highest, want := range map[int64]string{0: "order-1", 700: fmt.Sprint("order-", 5*margin)} {
		c := openCity(t)
		c.publish(t, orderMessage(t, "cart-1"), orderMessage(t, "cart-2"), orderMessage(t, "cart-3"))
		c.cut(t)
		c.publish(t, orderMessage(t, banking.NewProbeID(highest)))
		id, err := c.order(t)
		if refused := errors.Is(err, ErrIDsBehind); refused != (highest > 0) {
			t.Fatalf("%d: %q, %v", highest, id, err)
		} else if refused {
			c.skip(t)
			id, err = c.order(t)
		}
		if err != nil || id != want {
			t.Errorf("%d: %q, %v; want %s", highest, id, err, want)
		}
	}
}

// A storage that a record has brought beyond all numbers is brought back.
func TestAStorageWithTheLargestNumberIsBroughtBack(t *testing.T) {
	c := openCity(t)
	if _, err := c.order(t); err != nil {
		t.Fatal(err)
	}
	for _, next := range []string{"9223372036854775807", "-9223372036854775808", "9223372036854776807.0"} {
		s, err := OpenStorage(t.Context(), c.settings.DatabaseURL)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Update(t.Context(), func(tx *storage.Tx) error {
			_, err := tx.Exec(t.Context(), `UPDATE order_ids SET next_number = `+next)
			return err
		})
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		if id, err := c.order(t); !errors.Is(err, ErrIDsBehind) {
			t.Errorf("%s: commande gives %q, %v", next, id, err)
		}
		c.skip(t)
		if id, err := c.order(t); err != nil || len(id) > len("order-99") {
			t.Errorf("%s: after a reset %q, %v", next, id, err)
		}
	}
}
