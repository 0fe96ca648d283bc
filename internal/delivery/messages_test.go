package delivery

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
)

// What is encoded can be decoded, from its own topic alone.
func TestDecode(t *testing.T) {
	order := banking.OrderCreated{
		EventID: "event-1", OrderID: "order-1", UserID: "user-1", Amount: 1050, Items: []string{"tea"},
		Status: banking.StatusCreated, CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	m, err := Encode(order, "cause")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		spoil  func(*record.Record)
		reason Reason // "": it is decoded
	}{
		"as it was published":     {func(*record.Record) {}, ""},
		"of another topic":        {func(r *record.Record) { r.Topic = banking.TopicPaymentsAuthorized }, ReasonMalformed},
		"of a dead-letter topic":  {func(r *record.Record) { r.Topic = banking.TopicOrdersDLQ }, ReasonMalformed},
		"of no topic":             {func(r *record.Record) { r.Topic = "" }, ReasonMalformed},
		"of another type":         {func(r *record.Record) { r.Headers[1].Value = []byte(banking.TypePaymentRejected) }, ReasonMalformed},
		"of no type":              {func(r *record.Record) { r.Headers = nil }, ReasonMalformed},
		"without a value":         {func(r *record.Record) { r.Value = nil }, ReasonMalformed},
		"with half a value":       {func(r *record.Record) { r.Value = r.Value[:len(r.Value)/2] }, ReasonMalformed},
		"with another key":        {func(r *record.Record) { r.Key = []byte("order-2") }, ReasonContradictory},
		"with another event's id": {func(r *record.Record) { r.Headers[0].Value = []byte("event-2") }, ReasonContradictory},
		"of the largest size": {func(r *record.Record) {
			r.Value = append(r.Value, bytes.Repeat([]byte(" "), banking.MaxEventSize-len(r.Value))...)
		}, ""},
		"larger than that": {func(r *record.Record) {
			r.Value = append(r.Value, bytes.Repeat([]byte(" "), banking.MaxEventSize-len(r.Value)+1)...)
		}, ReasonOversized},
	} {
		r := record.Record{Place: record.At(m.Topic, 0, 0), Key: m.Key, Value: bytes.Clone(m.Value)}
		for _, h := range m.Headers {
			r.Headers = append(r.Headers, record.Header{Key: h.Key, Value: bytes.Clone(h.Value)})
		}
		tt.spoil(&r)
		got, err := DecodeAs[banking.OrderCreated](r)
		if reasonOf(err) != tt.reason || (err == nil) != (tt.reason == "") {
			t.Errorf("%s: %v, want %q", name, err, tt.reason)
		}
		if err != nil && ClassOf(err) != ClassReject {
			t.Errorf("%s: class %v", name, ClassOf(err))
		}
		if diff := cmp.Diff(order, got); err == nil && diff != "" {
			t.Errorf("%s (-encoded +decoded):\n%s", name, diff)
		}
		if _, err := DecodeAs[banking.PaymentAuthorized](r); ClassOf(err) != ClassReject {
			t.Errorf("%s: as another type: %v", name, err)
		}
	}
}
