package suivi

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
)

func orderEvent() banking.OrderCreated {
	return banking.OrderCreated{
		EventID: "created-order-1", OrderID: "order-1", UserID: "user-1", Amount: 1050, Items: []string{"tea", "cake"},
		Status: banking.StatusCreated, CreatedAt: at(1),
	}
}

func authorizedEvent() banking.PaymentAuthorized {
	return banking.PaymentAuthorized{
		EventID: "authorized-order-1", OrderID: "order-1", UserID: "user-1", Amount: 1050,
		Status: banking.StatusAuthorized, AuthorizationCode: "AUTH-1", ProcessedAt: at(2),
	}
}

func rejectedEvent() banking.PaymentRejected {
	return banking.PaymentRejected{
		EventID: "rejected-order-1", OrderID: "order-1", UserID: "user-1", Amount: 1050,
		Status: banking.StatusRejected, RejectionReason: "card_expired", ProcessedAt: at(2),
	}
}

// recordOf is how an event stands on a topic, with further headers.
func recordOf(t *testing.T, topic string, e banking.Event) record.Record {
	t.Helper()
	value, err := banking.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	r := record.Record{Place: record.At(topic, 0, 0), Key: []byte(e.Order()), Value: value, Time: at(9)}
	r.Headers = []record.Header{
		{Key: record.HeaderEventID, Value: []byte(e.ID())}, {Key: record.HeaderEventType, Value: []byte(e.Type())},
	}
	return r
}

// deadLetter is an order that a group set aside.
func deadLetter(t *testing.T, group string) record.Record {
	r := recordOf(t, banking.TopicOrdersDLQ, orderEvent())
	r.Headers = slices.Concat(record.Origin{
		Place: record.At(banking.TopicOrdersCreated, 0, 7), EventID: orderEvent().ID(), Group: group, Attempts: 3, Class: "transient",
		Reason: string(delivery.ReasonAuthoriser), Message: "no answer",
		FailedAt: time.Date(2026, 3, 4, 6, 3, 0, 123_000, time.FixedZone("", 3600)),
	}.Headers(), r.Headers)
	return r
}

// spoiltHeader is the record with another value in the first header of a name.
func spoiltHeader(r record.Record, name, value string) record.Record {
	i := slices.IndexFunc(r.Headers, func(h record.Header) bool { return h.Key == name })
	r.Headers[i].Value = []byte(value)
	return r
}

func spoilt(r record.Record, spoil func(*record.Record)) record.Record {
	spoil(&r)
	return r
}

func letterFact(minute int) *fact {
	f := failed("order-1", minute, 7)
	f.FailureReason = "authoriser"
	return &f
}

func pointer(f fact) *fact { return &f }

// TestFacts is a table of records in, facts out.
func TestFacts(t *testing.T) {
	tests := []struct {
		name   string
		record record.Record
		want   *fact
	}{
		{"created", recordOf(t, banking.TopicOrdersCreated, orderEvent()), pointer(created("order-1", 1))},
		{"authorised", recordOf(t, banking.TopicPaymentsAuthorized, authorizedEvent()), pointer(authorized("order-1", 2))},
		{"rejected", recordOf(t, banking.TopicPaymentsRejected, rejectedEvent()), pointer(rejected("order-1", 2))},
		{"dead letter", deadLetter(t, banking.GroupPaiement), letterFact(3)},
		{"dead letter without its time", spoiltHeader(deadLetter(t, banking.GroupPaiement), record.HeaderFailedAt, ""), nil},
		{"dead letter with a strange time", spoiltHeader(deadLetter(t, banking.GroupPaiement), record.HeaderFailedAt, "yesterday"), nil},
		{"dead letter of no place", spoiltHeader(deadLetter(t, banking.GroupPaiement), record.HeaderOriginalOffset, "+7"), nil},
		{"dead letter of another topic", spoiltHeader(deadLetter(t, banking.GroupPaiement), record.HeaderOriginalTopic, banking.TopicPaymentsRejected), nil},
		{"our own dead letter", deadLetter(t, banking.GroupSuivi), nil},
		{"another group's dead letter", deadLetter(t, banking.GroupAnalyseur), nil},
		{"a dead letter of nobody", recordOf(t, banking.TopicOrdersDLQ, orderEvent()), nil},
		{"a second order under the id", spoiltHeader(deadLetter(t, banking.GroupPaiement), record.HeaderErrorReason, "contradictory"), nil},
		{"a malformed dead letter", spoilt(deadLetter(t, banking.GroupPaiement), func(r *record.Record) { r.Value = []byte("{") }), nil},
		{"a dead letter with another key", spoilt(deadLetter(t, banking.GroupPaiement), func(r *record.Record) { r.Key = []byte("order-2") }), nil},
	}
	tr := &tracker{}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, out, err := tr.Handle(t.Context(), histories{}, test.record)
			if err != nil || out != nil {
				t.Errorf("messages %v, error %v", out, err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("fact (-want +got):\n%s", diff)
			}
			if test.want == nil {
				return
			}
			history := histories{"order-1": moments(fact{EventID: "earlier"}, *test.want)}
			got, _, err = tr.Handle(t.Context(), history, test.record)
			if got != nil || !errors.Is(err, delivery.ErrDuplicate) {
				t.Errorf("seen again: %v, %v; want a duplicate", got, err)
			}
		})
	}
}

func TestRecordsThatAreRefused(t *testing.T) {
	order := recordOf(t, banking.TopicOrdersCreated, orderEvent())
	tests := []struct {
		name   string
		record record.Record
		reason delivery.Reason
	}{
		{"malformed", spoilt(order, func(r *record.Record) { r.Value = []byte(`{"orderId":`) }), delivery.ReasonMalformed},
		{"no value", spoilt(order, func(r *record.Record) { r.Value = nil }), delivery.ReasonMalformed},
		{"unknown type", spoilt(order, func(r *record.Record) { r.Headers = nil }), delivery.ReasonMalformed},
		{"key differs", spoilt(order, func(r *record.Record) { r.Key = []byte("order-2") }), delivery.ReasonContradictory},
		{"event id differs", spoilt(order, func(r *record.Record) {
			r.Headers = []record.Header{{Key: "eventId", Value: []byte("x")}, r.Headers[1]}
		}), delivery.ReasonContradictory},
		{"payment among the orders", recordOf(t, banking.TopicOrdersCreated, authorizedEvent()), delivery.ReasonMalformed},
		{"order among the payments", recordOf(t, banking.TopicPaymentsAuthorized, orderEvent()), delivery.ReasonMalformed},
		{"rejected among the authorised", recordOf(t, banking.TopicPaymentsAuthorized, rejectedEvent()), delivery.ReasonMalformed},
		{"authorised among the rejected", recordOf(t, banking.TopicPaymentsRejected, authorizedEvent()), delivery.ReasonMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f, out, err := (&tracker{}).Handle(t.Context(), histories{}, test.record)
			failure, ok := errors.AsType[*delivery.Failure](err)
			if !ok || failure.Class != delivery.ClassReject || failure.Reason != test.reason {
				t.Errorf("error %v, want reason %s", err, test.reason)
			}
			if f != nil || out != nil {
				t.Errorf("fact %v, messages %v", f, out)
			}
		})
	}
}

// TestAnOrderIsCreatedOnceAndDecidedOnce is a table of what is known of an
// order, and whether another event may be added.
func TestAnOrderIsCreatedOnceAndDecidedOnce(t *testing.T) {
	other := func(f fact) fact { f.EventID = "another"; return f }
	order := recordOf(t, banking.TopicOrdersCreated, orderEvent())
	yes := recordOf(t, banking.TopicPaymentsAuthorized, authorizedEvent())
	no := recordOf(t, banking.TopicPaymentsRejected, rejectedEvent())
	letter := deadLetter(t, banking.GroupPaiement)
	tests := []struct {
		name    string
		known   []fact
		record  record.Record
		refused bool
	}{
		{"created twice", []fact{other(created("order-1", 1))}, order, true},
		{"authorised twice", []fact{other(authorized("order-1", 1))}, yes, true},
		{"rejected twice", []fact{other(rejected("order-1", 1))}, no, true},
		{"authorised, then rejected", []fact{created("order-1", 1), authorized("order-1", 2)}, no, true},
		{"rejected, then authorised", []fact{rejected("order-1", 2)}, yes, true},
		{"created after its decision", []fact{authorized("order-1", 2)}, order, false},
		{"decided after its creation", []fact{created("order-1", 1)}, yes, false},
		{"decided after a failure", []fact{failed("order-1", 1, 1)}, no, false},
		{"failed again", []fact{failed("order-1", 1, 1)}, letter, false},
		{"failed once and decided", []fact{authorized("order-1", 1)}, letter, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f, _, err := (&tracker{}).Handle(t.Context(), histories{"order-1": moments(test.known...)}, test.record)
			if failure, ok := errors.AsType[*delivery.Failure](err); ok != test.refused || ok && failure.Reason != delivery.ReasonContradictory {
				t.Errorf("error %v, want a contradiction: %v", err, test.refused)
			}
			if (f == nil) != test.refused {
				t.Errorf("fact %v", f)
			}
		})
	}
}
