package analyseur

import (
	"errors"
	"testing"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
)

func authorizedEvent() banking.PaymentAuthorized {
	return banking.PaymentAuthorized{
		EventID: "decided-order-1", OrderID: "order-1", UserID: "user-1", Amount: 1050,
		Status: banking.StatusAuthorized, AuthorizationCode: "AUTH-1", ProcessedAt: noon(),
	}
}

func rejectedEvent() banking.PaymentRejected {
	return banking.PaymentRejected{
		EventID: "decided-order-1", OrderID: "order-1", UserID: "user-1", Amount: 1050,
		Status: banking.StatusRejected, RejectionReason: "card_expired", ProcessedAt: noon(),
	}
}

func recordOf(t *testing.T, topic string, e banking.Event, spoil func(*record.Record)) record.Record {
	t.Helper()
	value, err := banking.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	r := record.Record{
		Place: record.At(topic, 0, 0), Key: []byte(e.Order()), Value: value,
		Headers: []record.Header{
			{Key: record.HeaderEventID, Value: []byte(e.ID())}, {Key: record.HeaderEventType, Value: []byte(e.Type())},
		},
	}
	if spoil != nil {
		spoil(&r)
	}
	return r
}

func TestDecidedPaymentsBecomeTransactions(t *testing.T) {
	for _, test := range []struct {
		topic string
		event banking.Event
		want  Transaction
	}{
		{banking.TopicPaymentsAuthorized, authorizedEvent(), payment(1, "AUTHORIZED", 1050, noon())},
		{banking.TopicPaymentsRejected, rejectedEvent(), payment(1, "REJECTED", 1050, noon())},
	} {
		for _, state := range []counted{{}, {"order-2": "decided-order-1"}} {
			got, out, err := (&counter{}).Handle(t.Context(), state, recordOf(t, test.topic, test.event, nil))
			if err != nil || out != nil || got != test.want {
				t.Errorf("%s: %+v, %v, %v; want %+v", test.topic, got, out, err, test.want)
			}
		}
	}
}

func TestRecordsThatDoNotCount(t *testing.T) {
	const good = banking.TopicPaymentsAuthorized
	order := banking.OrderCreated{
		EventID: "e", OrderID: "order-1", UserID: "u", Amount: 1, Status: banking.StatusCreated, CreatedAt: noon(),
	}
	tests := []struct {
		name   string
		state  counted
		record record.Record
		class  delivery.Class
		reason delivery.Reason
	}{
		{"duplicate", counted{"order-1": "decided-order-1"}, recordOf(t, good, authorizedEvent(), nil), delivery.ClassDuplicate, ""},
		{"decided otherwise", counted{"order-1": "another"}, recordOf(t, good, authorizedEvent(), nil), delivery.ClassReject, delivery.ReasonContradictory},
		{"on the other topic", nil, recordOf(t, banking.TopicPaymentsRejected, authorizedEvent(), nil), delivery.ClassReject, delivery.ReasonMalformed},
		{"an order", nil, recordOf(t, good, order, nil), delivery.ClassReject, delivery.ReasonMalformed},
		{"malformed", nil, recordOf(t, good, authorizedEvent(), func(r *record.Record) { r.Value = []byte("null") }), delivery.ClassReject, delivery.ReasonMalformed},
		{"no headers", nil, recordOf(t, good, authorizedEvent(), func(r *record.Record) { r.Headers = nil }), delivery.ClassReject, delivery.ReasonMalformed},
		{"key differs", nil, recordOf(t, good, authorizedEvent(), func(r *record.Record) { r.Key = []byte("order-2") }), delivery.ClassReject, delivery.ReasonContradictory},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, out, err := (&counter{}).Handle(t.Context(), test.state, test.record)
			if err == nil || delivery.ClassOf(err) != test.class || got != (Transaction{}) || out != nil {
				t.Errorf("%+v, %v, %v of class %v; want class %v", got, out, err, delivery.ClassOf(err), test.class)
			}
			if f, ok := errors.AsType[*delivery.Failure](err); ok != (test.reason != "") || ok && f.Reason != test.reason {
				t.Errorf("error %v, want reason %q", err, test.reason)
			}
		})
	}
}

func TestAProbeIsNoPayment(t *testing.T) {
	probe := authorizedEvent()
	probe.OrderID = banking.NewProbeID(1)
	c := &counter{}
	got, out, err := c.Handle(t.Context(), counted{}, recordOf(t, banking.TopicPaymentsAuthorized, probe, nil))
	if err != nil || out != nil || got != (Transaction{}) {
		t.Errorf("%+v, %v, %v", got, out, err)
	}
}
