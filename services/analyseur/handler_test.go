package analyseur

import (
	"errors"
	"testing"

	"github.com/vigie-dev/vigie/services/internal/banking"
	"github.com/vigie-dev/vigie/services/internal/kafka"
	"github.com/vigie-dev/vigie/services/internal/storage"
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

func record(t *testing.T, topic string, e banking.Event, spoil func(*kafka.Record)) kafka.Record {
	t.Helper()
	value, err := banking.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	r := kafka.Record{
		Partition: storage.Partition{Topic: topic}, Key: []byte(e.Order()), Value: value,
		Headers: []storage.Header{
			{Key: banking.HeaderEventID, Value: []byte(e.ID())}, {Key: banking.HeaderEventType, Value: []byte(e.Type())},
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
		want  transaction
	}{
		{banking.TopicPaymentsAuthorized, authorizedEvent(), payment(1, "AUTHORIZED", 1050, noon())},
		{banking.TopicPaymentsRejected, rejectedEvent(), payment(1, "REJECTED", 1050, noon())},
	} {
		for _, state := range []counted{{}, {"order-2": "decided-order-1"}} {
			got, out, err := (&counter{}).Handle(t.Context(), state, record(t, test.topic, test.event, nil))
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
		record kafka.Record
		class  kafka.Class
		reason kafka.Reason
	}{
		{"duplicate", counted{"order-1": "decided-order-1"}, record(t, good, authorizedEvent(), nil), kafka.ClassDuplicate, ""},
		{"decided otherwise", counted{"order-1": "another"}, record(t, good, authorizedEvent(), nil), kafka.ClassReject, kafka.ReasonContradictory},
		{"on the other topic", nil, record(t, banking.TopicPaymentsRejected, authorizedEvent(), nil), kafka.ClassReject, kafka.ReasonMalformed},
		{"an order", nil, record(t, good, order, nil), kafka.ClassReject, kafka.ReasonMalformed},
		{"malformed", nil, record(t, good, authorizedEvent(), func(r *kafka.Record) { r.Value = []byte("null") }), kafka.ClassReject, kafka.ReasonMalformed},
		{"no headers", nil, record(t, good, authorizedEvent(), func(r *kafka.Record) { r.Headers = nil }), kafka.ClassReject, kafka.ReasonMalformed},
		{"key differs", nil, record(t, good, authorizedEvent(), func(r *kafka.Record) { r.Key = []byte("order-2") }), kafka.ClassReject, kafka.ReasonContradictory},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, out, err := (&counter{}).Handle(t.Context(), test.state, test.record)
			if err == nil || kafka.ClassOf(err) != test.class || got != (transaction{}) || out != nil {
				t.Errorf("%+v, %v, %v of class %v; want class %v", got, out, err, kafka.ClassOf(err), test.class)
			}
			if f, ok := errors.AsType[*kafka.Failure](err); ok != (test.reason != "") || ok && f.Reason != test.reason {
				t.Errorf("error %v, want reason %q", err, test.reason)
			}
		})
	}
}
