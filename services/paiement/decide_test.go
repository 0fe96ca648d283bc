package paiement

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/services/internal/banking"
	"github.com/vigie-dev/vigie/services/internal/kafka"
	"github.com/vigie-dev/vigie/services/internal/storage"
)

func message(topic, value string, headers ...string) storage.Message {
	m := storage.Message{Topic: topic, Key: []byte("order-1"), Value: []byte(value)}
	for i := 0; i < len(headers); i += 2 {
		m.Headers = append(m.Headers, storage.Header{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return m
}

// TestDecisions is a table of state and record in, changes and records out.
func TestDecisions(t *testing.T) {
	const result = "9e93d66a-2dd4-5a35-af97-f1d03c0f8764" // follows from the order's event id alone
	processed := time.Date(2026, 3, 4, 4, 6, 7, 123_456_000, time.UTC)
	tests := []struct {
		name    string
		state   known
		verdict Verdict
		change  entry
		out     storage.Message
	}{
		{
			"authorised", known{}, Verdict{Authorized: true, Code: "AUTH-1"},
			entry{"order-1", "event-of-order-1", result, "AUTHORIZED", 1050, processed},
			message("payments.authorized", `{"eventId":"`+result+`","orderId":"order-1","userId":"user-secret","amount":10.50,`+
				`"status":"AUTHORIZED","authorizationCode":"AUTH-1","processedAt":"2026-03-04T04:06:07.123456Z"}`,
				"eventId", result, "eventType", "PaymentAuthorized", "originalEventId", "event-of-order-1"),
		},
		{
			"rejected, beside another order", known{"order-2": "event-of-order-1"}, Verdict{Reason: "insufficient_funds"},
			entry{"order-1", "event-of-order-1", result, "REJECTED", 1050, processed},
			message("payments.rejected", `{"eventId":"`+result+`","orderId":"order-1","userId":"user-secret","amount":10.50,`+
				`"status":"REJECTED","rejectionReason":"insufficient_funds","processedAt":"2026-03-04T04:06:07.123456Z"}`,
				"eventId", result, "eventType", "PaymentRejected", "originalEventId", "event-of-order-1"),
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := &decider{now: now, authoriser: verdicts(func(_ context.Context, id string) (Verdict, error) {
				if id != "order-1" {
					t.Errorf("asked about %s", id)
				}
				return test.verdict, nil
			})}
			for range 2 { // deciding again gives the same
				change, out, err := d.Handle(t.Context(), test.state, record(t, order("order-1"), nil))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.change, change); diff != "" {
					t.Errorf("ledger (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff([]storage.Message{test.out}, out); diff != "" {
					t.Errorf("messages (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestRecordsThatAreNotDecided(t *testing.T) {
	away, payment := errors.New("bank is away"), banking.PaymentRejected{
		EventID: "event-of-order-1", OrderID: "order-1", UserID: "u", Amount: 1, Status: banking.StatusRejected, RejectionReason: "r", ProcessedAt: now(),
	}
	tests := []struct {
		name   string
		state  known
		event  banking.Event
		spoil  func(*kafka.Record)
		fails  error // of the authoriser; nil: it must not be asked
		class  kafka.Class
		reason kafka.Reason
	}{
		{"duplicate", known{"order-1": "event-of-order-1"}, nil, nil, nil, kafka.ClassDuplicate, ""},
		{"contradictory", known{"order-1": "another"}, nil, nil, nil, kafka.ClassReject, kafka.ReasonContradictory},
		{"no value", nil, nil, func(r *kafka.Record) { r.Value = nil }, nil, kafka.ClassReject, kafka.ReasonMalformed},
		{"malformed value", nil, nil, func(r *kafka.Record) { r.Value = r.Value[1:] }, nil, kafka.ClassReject, kafka.ReasonMalformed},
		{"no type", nil, nil, func(r *kafka.Record) { r.Headers = r.Headers[:1] }, nil, kafka.ClassReject, kafka.ReasonMalformed},
		{"unknown type", nil, nil, func(r *kafka.Record) { setHeader(r, "eventType", "OrderShipped") }, nil, kafka.ClassReject, kafka.ReasonMalformed},
		{"another type", nil, payment, nil, nil, kafka.ClassReject, kafka.ReasonMalformed},
		{"value of another type", nil, payment, func(r *kafka.Record) { setHeader(r, "eventType", "OrderCreated") }, nil, kafka.ClassReject, kafka.ReasonMalformed},
		{"key differs", nil, nil, func(r *kafka.Record) { r.Key = []byte("order-2") }, nil, kafka.ClassReject, kafka.ReasonContradictory},
		{"no key", nil, nil, func(r *kafka.Record) { r.Key = nil }, nil, kafka.ClassReject, kafka.ReasonContradictory},
		{"event id differs", nil, nil, func(r *kafka.Record) { setHeader(r, "eventId", "another") }, nil, kafka.ClassReject, kafka.ReasonContradictory},
		{"no event id", nil, nil, func(r *kafka.Record) { r.Headers = r.Headers[1:] }, nil, kafka.ClassReject, kafka.ReasonContradictory},
		{"authoriser fails", nil, nil, nil, away, kafka.ClassTransient, kafka.ReasonAuthoriser},
		{"authoriser takes too long", nil, nil, nil, context.DeadlineExceeded, kafka.ClassTransient, kafka.ReasonAuthoriser},
		{"stopping", nil, nil, nil, fmt.Errorf("call: %w", context.Canceled), kafka.ClassRetry, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.event == nil {
				test.event = order("order-1")
			}
			asked := false
			d := &decider{now: now, authoriser: verdicts(func(context.Context, string) (Verdict, error) {
				asked = true
				return Verdict{Authorized: true, Code: "AUTH-1"}, test.fails
			})}
			change, out, err := d.Handle(t.Context(), test.state, record(t, test.event, test.spoil))
			if err == nil || kafka.ClassOf(err) != test.class {
				t.Errorf("error %v of class %v, want class %v", err, kafka.ClassOf(err), test.class)
			}
			var failure *kafka.Failure
			if errors.As(err, &failure) != (test.reason != "") || failure != nil && failure.Reason != test.reason {
				t.Errorf("failure %v, want reason %q", failure, test.reason)
			}
			if test.fails != nil && !errors.Is(err, test.fails) {
				t.Errorf("%v does not hold the cause", err)
			}
			if change != (entry{}) || out != nil || asked != (test.fails != nil) {
				t.Errorf("change %v, messages %v, authoriser asked: %v", change, out, asked)
			}
			mustNotContain(t, err.Error(), "user-secret", "10.5")
		})
	}
}

func TestAnAuthoriserThatAnswersNonsenseBlocksNothing(t *testing.T) {
	for name, verdict := range map[string]Verdict{"no code": {Authorized: true}, "no reason": {}} {
		d := &decider{now: now, authoriser: verdicts(func(context.Context, string) (Verdict, error) { return verdict, nil })}
		_, out, err := d.Handle(t.Context(), nil, record(t, order("order-1"), nil))
		if kafka.ClassOf(err) != kafka.ClassTransient || out != nil {
			t.Errorf("%s: %v of class %v with %v; want a transient failure", name, err, kafka.ClassOf(err), out)
		}
	}
}
