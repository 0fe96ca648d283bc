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
	"github.com/vigie-dev/vigie/internal/storage"
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
	if e.Type() != banking.TypeOrderCreated {
		r.Headers = append(r.Headers, record.Header{Key: record.HeaderOriginalEventID, Value: []byte("created-" + e.Order())})
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

// saidBy is the fact with the record that said it.
func saidBy(r record.Record, f fact) *fact {
	f.Record = &r
	return &f
}

// TestFacts is a table of records in, facts out.
func TestFacts(t *testing.T) {
	yes := recordOf(t, banking.TopicPaymentsAuthorized, authorizedEvent())
	no := recordOf(t, banking.TopicPaymentsRejected, rejectedEvent())
	tests := []struct {
		name   string
		record record.Record
		want   *fact
	}{
		{"created", recordOf(t, banking.TopicOrdersCreated, orderEvent()), pointer(created("order-1", 1))},
		{"authorised", yes, saidBy(yes, authorized("order-1", 2))},
		{"rejected", no, saidBy(no, rejected("order-1", 2))},
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
	foreign := spoiltHeader(recordOf(t, banking.TopicPaymentsAuthorized, authorizedEvent()), record.HeaderOriginalEventID, "another")
	silent := spoiltHeader(recordOf(t, banking.TopicPaymentsAuthorized, authorizedEvent()), record.HeaderOriginalEventID, "")
	derived := authorizedEvent()
	derived.EventID = banking.ResultEventID("created-order-1")
	stranger := func(f fact) fact { f.EventID = "created by another"; return f }
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
		{"decided for another order", []fact{created("order-1", 1)}, foreign, true},
		{"decided before its order is known", nil, foreign, false},
		{"decided for nobody knows which", []fact{created("order-1", 1)}, silent, true},
		{"decided for the one its id tells", []fact{created("order-1", 1)}, spoiltHeader(recordOf(t, banking.TopicPaymentsAuthorized, derived), record.HeaderOriginalEventID, ""), false},
		{"another order failed", []fact{stranger(created("order-1", 1))}, letter, true},
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

// take has the tracker take records one by one, as the loop does.
func take(t *testing.T, tr *tracker, records ...record.Record) (out []record.Message) {
	t.Helper()
	for _, r := range records {
		known, err := tr.Load(t.Context(), []record.Record{r})
		if err != nil {
			t.Fatal(err)
		}
		f, messages, err := tr.Handle(t.Context(), known, r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, messages...)
		applyDecided(t, tr, []delivery.Decided[*fact]{{Context: t.Context(), Record: r, Change: f}})
	}
	return out
}

// A decision that came before its order is compared when the order comes. One
// of another order is shown no more, and set aside as it was: its customer is
// another.
func TestADecisionOfAnotherOrderIsSetAside(t *testing.T) {
	onEach(t, func(t *testing.T, empty maker) {
		order := recordOf(t, banking.TopicOrdersCreated, orderEvent())
		theirs := authorizedEvent()
		theirs.EventID, theirs.UserID, theirs.Amount = "authorized-theirs", "user-2", 7
		foreign := spoiltHeader(recordOf(t, banking.TopicPaymentsAuthorized, theirs), record.HeaderOriginalEventID, "created-theirs")
		foreign.Place, foreign.Time = record.At(banking.TopicPaymentsAuthorized, 2, 42), time.Time{}
		ours := recordOf(t, banking.TopicPaymentsRejected, rejectedEvent())
		failure := deadLetter(t, banking.GroupPaiement)
		want := project(project(project(view{}, created("order-1", 1)), *letterFact(3)), rejected("order-1", 2))

		tr := openTracker(t, empty)
		if out := take(t, tr, failure, foreign); len(out) != 0 || stored(t, tr, "order-1").Status != banking.OrderStatusAuthorized {
			t.Errorf("before the order: %v, %+v", out, stored(t, tr, "order-1"))
		}
		out := take(t, tr, order)
		if len(out) != 1 || out[0].Topic != banking.TopicPaymentsDLQ {
			t.Fatalf("with the order goes %v", out)
		}
		origin, original, err := record.ParseOrigin(record.Record{Place: record.At(banking.TopicPaymentsDLQ, 0, 0), Key: out[0].Key, Value: out[0].Value, Headers: out[0].Headers})
		if err != nil || origin.Group != banking.GroupSuivi || origin.Reason != string(delivery.ReasonContradictory) || origin.Class != "reject" {
			t.Errorf("the letter says %+v, %v", origin, err)
		}
		if diff := cmp.Diff(foreign, original); diff != "" {
			t.Errorf("the record set aside (-was +is):\n%s", diff)
		}
		v := stored(t, tr, "order-1")
		if v.Status != banking.OrderStatusFailed || v.UserID != "user-1" || v.Amount != 1050 || v.AuthorizationCode != "" || len(v.Events) != 2 {
			t.Errorf("with the order the view is %+v", v)
		}
		if out := take(t, tr, ours); len(out) != 0 {
			t.Errorf("with its decision goes %v", out)
		}
		if diff := cmp.Diff(want, stored(t, tr, "order-1")); diff != "" {
			t.Errorf("the view (-want +got):\n%s", diff)
		}
		if n := total(t, tr); n != 1 {
			t.Errorf("%d orders are counted", n)
		}
	})
}

// What another partition has stored since a record was looked at has it looked
// at again.
func TestARecordIsLookedAtAgainWhenMoreIsKnown(t *testing.T) {
	foreign := func() fact { f := authorized("order-1", 2); f.Cause = "created-theirs"; return f }
	for name, tt := range map[string]struct {
		first, second fact
		again         bool
	}{
		"an order after its decision":      {authorized("order-1", 2), created("order-1", 1), false},
		"an order after another's":         {foreign(), created("order-1", 1), true},
		"another's decision after it":      {created("order-1", 1), foreign(), true},
		"a second decision":                {authorized("order-1", 2), rejected("order-1", 3), true},
		"the same":                         {authorized("order-1", 2), authorized("order-1", 2), false},
		"a failure of another":             {created("order-1", 1), func() fact { f := failed("order-1", 2, 1); f.Cause = "theirs"; return f }(), true},
		"a failure whose order is unknown": {authorized("order-1", 1), failed("order-1", 2, 1), false},
	} {
		tr := openTracker(t, sqliteIn)
		storeAll(t, tr, tt.first)
		before := stored(t, tr, "order-1")
		err := tr.store.Update(t.Context(), func(tx *storage.Tx) error {
			return tr.Store(t.Context(), tx, []delivery.Decided[*fact]{{Context: t.Context(), Change: &tt.second}})
		})
		if errors.Is(err, storage.ErrFenced) != tt.again || !tt.again && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(before, stored(t, tr, "order-1")); tt.again && diff != "" {
			t.Errorf("%s changes the view:\n%s", name, diff)
		}
	}
}
