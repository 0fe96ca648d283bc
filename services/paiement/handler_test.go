package paiement

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
)

func message(topic, value string, headers ...string) record.Message {
	m := record.Message{Topic: topic, Key: []byte("order-1"), Value: []byte(value)}
	for i := 0; i < len(headers); i += 2 {
		m.Headers = append(m.Headers, record.Header{Key: headers[i], Value: []byte(headers[i+1])})
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
		change  LedgerRow
		out     record.Message
	}{
		{
			"authorised", known{}, Verdict{Authorized: true, Code: "AUTH-1"},
			LedgerRow{"order-1", "event-of-order-1", result, "AUTHORIZED", 1050, processed},
			message("payments.authorized", `{"eventId":"`+result+`","orderId":"order-1","userId":"user-secret","amount":10.50,`+
				`"status":"AUTHORIZED","authorizationCode":"AUTH-1","processedAt":"2026-03-04T04:06:07.123456Z"}`,
				"eventId", result, "eventType", "PaymentAuthorized", "originalEventId", "event-of-order-1"),
		},
		{
			"rejected, beside another order", settled("order-2", "event-of-order-1"), Verdict{Reason: "insufficient_funds"},
			LedgerRow{"order-1", "event-of-order-1", result, "REJECTED", 1050, processed},
			message("payments.rejected", `{"eventId":"`+result+`","orderId":"order-1","userId":"user-secret","amount":10.50,`+
				`"status":"REJECTED","rejectionReason":"insufficient_funds","processedAt":"2026-03-04T04:06:07.123456Z"}`,
				"eventId", result, "eventType", "PaymentRejected", "originalEventId", "event-of-order-1"),
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := &decider{now: now, authoriser: verdicts(func(_ context.Context, id string) (Verdict, error) {
				if id != "order-1" {
					t.Errorf("called for %s", id)
				}
				return test.verdict, nil
			})}
			for range 2 { // deciding again gives the same
				change, out, err := d.Handle(t.Context(), test.state, recordOf(t, order("order-1"), nil))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(&test.change, change); diff != "" {
					t.Errorf("ledger (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff([]record.Message{test.out}, out); diff != "" {
					t.Errorf("messages (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// settled is the state of a batch one of whose orders was settled for that event.
func settled(order, event string) known { return known{settled: map[string]string{order: event}} }

// inTheLog gives a record a time of its own.
func inTheLog(at time.Time) func(*record.Record) { return func(r *record.Record) { r.Time = at } }

func TestRecordsThatAreNotDecided(t *testing.T) {
	away, payment := errors.New("bank is away"), banking.PaymentRejected{
		EventID: "event-of-order-1", OrderID: "order-1", UserID: "u", Amount: 1, Status: banking.StatusRejected, RejectionReason: "r", ProcessedAt: now(),
	}
	from := now().Truncate(time.Microsecond) // when the order was placed, as its record says it
	tests := []struct {
		name   string
		state  known
		event  banking.Event
		spoil  func(*record.Record)
		fails  error // of the authoriser; nil: it must not be called
		class  delivery.Class
		reason delivery.Reason
	}{
		{"duplicate", settled("order-1", "event-of-order-1"), nil, nil, nil, delivery.ClassDuplicate, ""},
		{"contradictory", settled("order-1", "another"), nil, nil, nil, delivery.ClassReject, delivery.ReasonContradictory},
		{"placed before what is known", known{horizon: horizon{from: from.Add(time.Second)}}, nil, nil, nil, delivery.ClassReject, delivery.ReasonTooOld},
		{"in the log before what is known", known{horizon: horizon{from: from}}, nil, inTheLog(from.Add(-time.Second)), nil, delivery.ClassReject, delivery.ReasonTooOld},
		{"before the place from which on all is known", known{horizon: horizon{before: 1}}, nil, nil, nil, delivery.ClassReject, delivery.ReasonTooOld},
		{"at that place", known{horizon: horizon{before: 1}}, nil, func(r *record.Record) { r.Offset = 1 }, away, delivery.ClassTransient, delivery.ReasonAuthoriser},
		{"no value", known{}, nil, func(r *record.Record) { r.Value = nil }, nil, delivery.ClassReject, delivery.ReasonMalformed},
		{"malformed value", known{}, nil, func(r *record.Record) { r.Value = r.Value[1:] }, nil, delivery.ClassReject, delivery.ReasonMalformed},
		{"no type", known{}, nil, func(r *record.Record) { r.Headers = r.Headers[:1] }, nil, delivery.ClassReject, delivery.ReasonMalformed},
		{"unknown type", known{}, nil, func(r *record.Record) { setHeader(r, "eventType", "OrderShipped") }, nil, delivery.ClassReject, delivery.ReasonMalformed},
		{"another type", known{}, payment, nil, nil, delivery.ClassReject, delivery.ReasonMalformed},
		{"value of another type", known{}, payment, func(r *record.Record) { setHeader(r, "eventType", "OrderCreated") }, nil, delivery.ClassReject, delivery.ReasonMalformed},
		{"key differs", known{}, nil, func(r *record.Record) { r.Key = []byte("order-2") }, nil, delivery.ClassReject, delivery.ReasonContradictory},
		{"no key", known{}, nil, func(r *record.Record) { r.Key = nil }, nil, delivery.ClassReject, delivery.ReasonContradictory},
		{"event id differs", known{}, nil, func(r *record.Record) { setHeader(r, "eventId", "another") }, nil, delivery.ClassReject, delivery.ReasonContradictory},
		{"no event id", known{}, nil, func(r *record.Record) { r.Headers = r.Headers[1:] }, nil, delivery.ClassReject, delivery.ReasonContradictory},
		{"just not too old", known{horizon: horizon{from: from}}, nil, inTheLog(from), away, delivery.ClassTransient, delivery.ReasonAuthoriser},
		{"without a time in the log", known{horizon: horizon{from: from}}, nil, inTheLog(time.Time{}), away, delivery.ClassTransient, delivery.ReasonAuthoriser},
		{"with time 0 in the log", known{horizon: horizon{from: from}}, nil, inTheLog(time.UnixMilli(0)), away, delivery.ClassTransient, delivery.ReasonAuthoriser},
		{"with time -1 in the log", known{horizon: horizon{from: from}}, nil, inTheLog(time.UnixMilli(-1)), away, delivery.ClassTransient, delivery.ReasonAuthoriser},
		{"authoriser fails", known{}, nil, nil, away, delivery.ClassTransient, delivery.ReasonAuthoriser},
		{"authoriser takes too long", known{}, nil, nil, context.DeadlineExceeded, delivery.ClassTransient, delivery.ReasonAuthoriser},
		{"stopping", known{}, nil, nil, fmt.Errorf("call: %w", context.Canceled), delivery.ClassRetry, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.event == nil {
				test.event = order("order-1")
			}
			called := false
			d := &decider{now: now, authoriser: verdicts(func(context.Context, string) (Verdict, error) {
				called = true
				return Verdict{Authorized: true, Code: "AUTH-1"}, test.fails
			})}
			change, out, err := d.Handle(t.Context(), test.state, recordOf(t, test.event, test.spoil))
			if err == nil || delivery.ClassOf(err) != test.class {
				t.Errorf("error %v of class %v, want class %v", err, delivery.ClassOf(err), test.class)
			}
			var failure *delivery.Failure
			if errors.As(err, &failure) != (test.reason != "") || failure != nil && failure.Reason != test.reason {
				t.Errorf("failure %v, want reason %q", failure, test.reason)
			}
			if test.fails != nil && !errors.Is(err, test.fails) {
				t.Errorf("%v does not wrap the cause", err)
			}
			if change != nil || out != nil || called != (test.fails != nil) {
				t.Errorf("change %v, messages %v, authoriser called: %v", change, out, called)
			}
			mustNotContain(t, err.Error(), "user-secret", "10.5")
		})
	}
}

func TestAnAuthoriserThatAnswersNonsenseBlocksNothing(t *testing.T) {
	for name, verdict := range map[string]Verdict{"no code": {Authorized: true}, "no reason": {}} {
		d := &decider{now: now, authoriser: verdicts(func(context.Context, string) (Verdict, error) { return verdict, nil })}
		_, out, err := d.Handle(t.Context(), known{}, recordOf(t, order("order-1"), nil))
		if delivery.ClassOf(err) != delivery.ClassTransient || out != nil {
			t.Errorf("%s: %v of class %v with %v; want a transient failure", name, err, delivery.ClassOf(err), out)
		}
	}
}

// A probe is decided as an order is, and leaves nothing in the ledger; decided again it is decided
// by the same event.
func TestAProbeLeavesNothing(t *testing.T) {
	probe := order("probe-7-A")
	d := &decider{now: now, log: silent(), authoriser: verdicts(func(context.Context, string) (Verdict, error) {
		return Verdict{Authorized: true, Code: "AUTH-1"}, nil
	})}
	var first []record.Message
	for range 2 {
		change, out, err := d.Handle(t.Context(), known{}, recordOf(t, probe, nil))
		if err != nil || change != nil || len(out) != 1 || out[0].Topic != banking.TopicPaymentsAuthorized || string(out[0].Key) != probe.OrderID {
			t.Fatalf("%+v, %v, %v", change, out, err)
		}
		if first == nil {
			first = out
		}
		if diff := cmp.Diff(first, out); diff != "" {
			t.Errorf("decided otherwise (-first +second):\n%s", diff)
		}
	}
	d.Stored([]delivery.Decided[*LedgerRow]{{Context: t.Context()}}) // counts and logs nothing
	marker := record.Marker{Letter: record.At(banking.TopicOrdersDLQ, 0, 3), Resolution: record.Purged, At: now(), EventID: "e"}
	m := marker.Message([]byte(probe.OrderID))
	if row := d.purge(record.Record{Place: record.At(m.Topic, 0, 4), Key: m.Key, Value: m.Value, Headers: m.Headers}); row != nil {
		t.Errorf("a purge adds %+v", row)
	}
}
