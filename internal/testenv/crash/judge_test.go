//go:build unix

package crash

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/audit"
	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/journeys"
	"github.com/vigie-dev/vigie/internal/record"
)

// sound is the evidence of a round in which all went well: order-1 authorised,
// order-2 rejected, order-3 dead-lettered, order-4 authorised and unanswered,
// and one poison record, one order republished.
func sound() evidence {
	e := evidence{
		Records: map[string][]record.Record{}, Poison: map[record.Place]record.Record{}, views: views{
			Suivi: map[string]shown{}, SuiviTotal: 4,
			Totals: totals{Transactions: 3, Authorized: 2, Rejected: 1, Cents: 100 + 200 + 400},
		},
		Audit: audit.Report{
			AccountedFor: true, Created: audit.Sum{Count: 4, Amount: audit.CentsOf(1000)},
			Authorized: audit.Sum{Count: 2, Amount: audit.CentsOf(500)}, Rejected: audit.Sum{Count: 1, Amount: audit.CentsOf(200)}, DeadLettered: audit.Sum{Count: 1, Amount: audit.CentsOf(300)},
			Republished: audit.Republished{Orders: 1, Results: 2, DeadLetters: 3}, Unreadable: audit.Unreadable{Elsewhere: 1},
			Services: []audit.Service{{Name: "paiement", LookedAt: true}},
		},
		Journeys: []counted{{map[journeys.Outcome]int64{journeys.InTime: 2, journeys.Late: 1, journeys.DeadLettered: 1}, true, 0, 3}},
	}
	for i := range int64(4) {
		id, user := fmt.Sprintf("order-%d", i+1), fmt.Sprintf("client-%d", i+1)
		e.put(banking.TopicOrdersCreated, id, user, "event-"+id, 100*(i+1), nil)
		a := reply{Request: user, Cents: 100 * (i + 1), Status: http.StatusCreated, OrderID: id, EventID: "event-" + id}
		if i == 3 {
			a = reply{Request: user, Cents: 400}
			e.put(banking.TopicOrdersCreated, id, user, "event-"+id, 400, nil)
		}
		e.Replies = append(e.Replies, a)
	}
	e.decide(banking.TopicPaymentsAuthorized, "order-1", 100)
	e.decide(banking.TopicPaymentsRejected, "order-2", 200)
	e.decide(banking.TopicPaymentsAuthorized, "order-4", 400)
	e.decide(banking.TopicPaymentsAuthorized, "order-4", 400) // once more
	third := e.Records[banking.TopicOrdersCreated][2]
	e.letter(banking.TopicOrdersDLQ, third, banking.GroupPaiement)
	poison := e.put(banking.TopicPaymentsRejected, "order-9", "", "", 0, []byte("not JSON"))
	e.Poison[poison.Place] = poison
	e.letter(banking.TopicPaymentsDLQ, poison, banking.GroupSuivi)
	e.letter(banking.TopicPaymentsDLQ, poison, banking.GroupAnalyseur)
	e.letter(banking.TopicPaymentsDLQ, poison, banking.GroupAnalyseur) // once more
	e.Suivi["order-1"] = shown{"PAYMENT_AUTHORIZED", 100, []string{"OrderCreated", "PaymentAuthorized"}}
	e.Suivi["order-2"] = shown{"PAYMENT_REJECTED", 200, []string{"OrderCreated", "PaymentRejected"}}
	e.Suivi["order-3"] = shown{"PAYMENT_FAILED", 300, []string{"OrderCreated", "PaymentFailed"}}
	e.Suivi["order-4"] = shown{"PAYMENT_AUTHORIZED", 400, []string{"PaymentAuthorized", "OrderCreated"}}
	return e
}

func (e *evidence) put(topic, id, user, eventID string, amount int64, value []byte) record.Record {
	if value == nil {
		value = fmt.Appendf(nil, `{"eventId":%q,"orderId":%q,"userId":%q,"amount":%s}`, eventID, id, user, euros(amount))
	}
	r := record.Record{
		Place: record.At(topic, 1, int64(len(e.Records[topic]))), Key: []byte(id), Value: value,
		Headers: []record.Header{{Key: record.HeaderEventID, Value: []byte(eventID)}},
	}
	e.Records[topic] = append(e.Records[topic], r)
	return r
}

func (e *evidence) decide(topic, id string, cents int64) {
	e.put(topic, id, "", "decision-"+id, cents, nil)
}

func (e *evidence) letter(topic string, of record.Record, group string) {
	origin := record.Origin{Place: of.Place, EventID: of.Header(record.HeaderEventID), Group: group, FailedAt: time.Now()}
	r := e.put(topic, string(of.Key), "", "", 0, of.Value)
	e.Records[topic][r.Offset].Headers = append(origin.Headers(), of.Headers...)
}

// drop takes the records with a key off a topic.
func (e *evidence) drop(topic, id string) {
	e.Records[topic] = slices.DeleteFunc(e.Records[topic], func(r record.Record) bool { return string(r.Key) == id })
}

func TestAllIsWell(t *testing.T) {
	got := judge(sound())
	want := verdict{Acknowledged: 3, Unanswered: 1, DeadLettered: 1, Republished: 6}
	if len(got.Violations) > 0 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("judge = %+v, want %+v", got, want)
	}
}

// What an operator has deleted on purpose breaks no promise, and what is known
// of it from before goes on to count.
func TestWhatWasDeletedIsNotMissed(t *testing.T) {
	e := sound()
	e.Deleted = map[record.Place]bool{e.Records[banking.TopicOrdersCreated][0].Place: true, e.Records[banking.TopicPaymentsAuthorized][0].Place: true}
	e.Audit.Created, e.Audit.Authorized = audit.Sum{Count: 3, Amount: audit.CentsOf(900)}, audit.Sum{Count: 1, Amount: audit.CentsOf(400)}
	if got := judge(e).Violations; len(got) > 0 {
		t.Errorf("a deleted order: %q", got)
	}
	e.Rebuilt, e.Totals = true, totals{2, 1, 1, 600}
	if got := judge(e).Violations; len(got) > 0 {
		t.Errorf("a decision that the rebuilt services cannot know: %q", got)
	}
	e = sound()
	e.Since = time.Now()
	e.Replies = append(e.Replies, reply{Request: "client-9", Status: http.StatusCreated, OrderID: "order-9", EventID: "event-9", Sent: e.Since.Add(-1)})
	if got := judge(e).Violations; len(got) > 0 {
		t.Errorf("an order of a topic that is gone: %q", got)
	}
}

// Every promise that can be broken is seen to be broken.
func TestEachBrokenPromiseIsNamed(t *testing.T) {
	const created = banking.TopicOrdersCreated
	for name, tt := range map[string]struct {
		harm func(*evidence)
		want string
	}{
		"acknowledged order lost": {func(e *evidence) { e.drop(created, "order-1") }, "order-1: acknowledged and not in the log"},
		"id given to two orders": {func(e *evidence) {
			e.put(created, "order-1", "client-9", "event-9", 900, nil)
		}, "order-1: nobody sent the request of client-9"},
		"one id for two clients": {func(e *evidence) { e.Replies[1].OrderID = "order-1" }, "order-1: two clients got this id"},
		"another event id":       {func(e *evidence) { e.Replies[1].EventID = "event-x" }, "order-2: the log has the request as order-2, event event-order-2"},
		"one request, two orders": {func(e *evidence) {
			e.put(created, "order-8", "client-1", "event-8", 100, nil)
		}, "the request of client-1 is also"},
		"an order nobody sent": {func(e *evidence) {
			e.put(created, "order-8", "client-8", "event-8", 100, nil)
		}, "order-8: nobody sent the request of client-8"},
		"an order that cannot be read": {func(e *evidence) {
			e.put(created, "order-8", "", "", 0, []byte("{"))
		}, "an order cannot be read: orders.created/1/5"},
		"another amount in the log": {func(e *evidence) { e.Replies[0].Cents = 101 }, "order-1: 100 cents in the log, 101 were sent"},
		"an answer that is no 503":  {func(e *evidence) { e.Replies[3].Status = 500 }, "client-4 was answered with 500"},
		"an order that was said not to be taken": {func(e *evidence) {
			e.Replies[3].Status, e.Replies[3].Problem = http.StatusServiceUnavailable, httpapi.StorageAway
		}, "order-4: the log has the request of client-4, whose reply says that nothing was done (storage-away)"},
		"an unexplained dead letter": {func(e *evidence) {
			e.letter(banking.TopicOrdersDLQ, e.Records[created][0], banking.GroupSuivi)
		}, "order-1: an unexplained dead letter"},
		"a dead letter of another event": {func(e *evidence) {
			e.Records[banking.TopicOrdersDLQ][0].Headers[0].Value = []byte("event-order-1")
		}, "order-3: an unexplained dead letter"},
		"a dead letter that cannot be read": {func(e *evidence) {
			e.Records[banking.TopicOrdersDLQ][0].Headers = nil
		}, "orders.dlq/1/0 cannot be read: not a dead letter"},
		"poison without its letter": {func(e *evidence) { e.Records[banking.TopicPaymentsDLQ] = nil }, "poison: no dead letter of"},
		"a letter with another value": {func(e *evidence) {
			e.Records[banking.TopicPaymentsDLQ][0].Value = []byte("x")
		}, "has key \"order-9\" and value \"x\""},
		"the audit finds a difference": {func(e *evidence) {
			e.Audit.AccountedFor, e.Audit.DifferenceCount = false, 1
			e.Audit.Differences = []audit.Difference{{Kind: audit.Lost, OrderID: "order-1", Detail: "gone"}}
		}, "audit: order-1 lost: gone"},
		"the audit names no difference": {func(e *evidence) { e.Audit.AccountedFor, e.Audit.DifferenceCount = false, 7 }, "audit: differences: 7"},
		"the audit saw fewer orders": {func(e *evidence) {
			e.Audit.Created.Count--
		}, "the audit has seen 3 orders of 10.00, the log has 4 of 10.00"},
		"the audit saw other amounts": {func(e *evidence) {
			e.Audit.Created.Amount = audit.CentsOf(1001)
		}, "the audit has seen 4 orders of 10.01, the log has 4 of 10.00"},
		"an order still in flight": {func(e *evidence) {
			e.Audit.Rejected, e.Audit.InFlight = e.Audit.InFlight, e.Audit.Rejected
		}, "audit: of 4 orders, 2 are decided, 1 dead letters and 0 purged"},
		"the audit saw no poison":  {func(e *evidence) { e.Audit.Unreadable = audit.Unreadable{} }, "the audit has seen unreadable records"},
		"the audit saw no service": {func(e *evidence) { e.Audit.Services = nil }, "the audit has looked at no service"},
		"an order without an outcome": {func(e *evidence) {
			e.drop(banking.TopicPaymentsRejected, "order-2")
		}, "order-2: neither decided nor set aside"},
		"two decisions": {func(e *evidence) {
			e.put(banking.TopicPaymentsRejected, "order-1", "", "another", 100, nil)
		}, "order-1: decided twice"},
		"a decision about another amount": {func(e *evidence) {
			e.drop(banking.TopicPaymentsAuthorized, "order-1")
			e.decide(banking.TopicPaymentsAuthorized, "order-1", 101)
		}, "order-1: decided for 101 cents, ordered for 100"},
		"a decision about nothing": {func(e *evidence) {
			e.decide(banking.TopicPaymentsRejected, "order-8", 1)
		}, "order-8: decided without an order"},
		"a decision that cannot be read": {func(e *evidence) {
			e.put(banking.TopicPaymentsRejected, "order-8", "", "", 0, []byte("{"))
		}, "a decision cannot be read"},
		"an aborted order that is shown": {func(e *evidence) { e.Never = []string{"order-2"} }, "order-2: aborted with its transaction"},
		"an order of new topics lost": {func(e *evidence) {
			e.Since = time.Now()
			e.Replies[0].Sent = e.Since
			e.drop(created, "order-1")
		}, "order-1: acknowledged and not in the log"},
		"purged, and still counted as waiting": {func(e *evidence) { e.Audit.Purged.Count++ }, "audit: of 4 orders, 3 are decided, 1 dead letters and 1 purged"},
		"a service not looked at":              {func(e *evidence) { e.Audit.Services[0].LookedAt = false }, "the audit has seen {Name:paiement"},
		"a service that has not read":          {func(e *evidence) { e.Audit.Services[0].Unread = 1 }, "the audit has seen {Name:paiement"},
		"an outbox that is not empty":          {func(e *evidence) { e.Audit.Services[0].Outbox = 1 }, "the audit has seen {Name:paiement"},
		"missing in suivi":                     {func(e *evidence) { delete(e.Suivi, "order-2") }, "order-2: suivi does not know it"},
		"other amount in suivi": {func(e *evidence) {
			e.Suivi["order-2"] = shown{"PAYMENT_REJECTED", 7, e.Suivi["order-2"].Events}
		}, "order-2: suivi shows"},
		"a status that does not follow": {func(e *evidence) {
			e.Suivi["order-2"] = shown{"PAYMENT_FAILED", 200, e.Suivi["order-2"].Events}
		}, "order-2: suivi shows"},
		"a history without the order": {func(e *evidence) {
			e.Suivi["order-2"] = shown{"PAYMENT_REJECTED", 200, []string{"PaymentRejected"}}
		}, "order-2: suivi shows"},
		"two decisions in a history": {func(e *evidence) {
			e.Suivi["order-2"] = shown{"PAYMENT_REJECTED", 200, []string{"OrderCreated", "PaymentRejected", "PaymentAuthorized"}}
		}, "order-2: suivi shows"},
		"an unknown event in a history": {func(e *evidence) {
			e.Suivi["order-2"] = shown{"PAYMENT_REJECTED", 200, []string{"OrderCreated", "PaymentRejected", "?"}}
		}, "order-2: suivi shows"},
		"suivi shows it twice":   {func(e *evidence) { e.SuiviTotal++ }, "suivi counts 5 orders"},
		"the audit counts less":  {func(e *evidence) { e.Audit.Authorized.Count--; e.Audit.Rejected.Count++ }, "the audit has seen 1 authorized and 2 rejected"},
		"analyseur counts twice": {func(e *evidence) { e.Totals.Transactions++ }, "analyseur says"},
		"analyseur is off":       {func(e *evidence) { e.Totals.Cents-- }, "analyseur says"},
		"sentinelle is silent":   {func(e *evidence) { e.Journeys = nil }, "sentinelle says nothing"},
		"sentinelle counts twice": {func(e *evidence) {
			e.Journeys[0].Outcomes[journeys.Late]++
		}, "sentinelle has counted 5 journeys, the audit has 4 orders"},
		"sentinelle misses one": {func(e *evidence) { e.Journeys[0].Outcomes[journeys.InTime]-- }, "sentinelle has counted 3 journeys of 4 orders"},
		"sentinelle misses one that was deleted": {func(e *evidence) {
			e.Deleted = map[record.Place]bool{e.Records[created][0].Place: true}
			e.Journeys[0].Outcomes[journeys.InTime]--
		}, "sentinelle has counted 3 journeys of 4 orders"},
		"one of two instances of sentinelle is behind": {func(e *evidence) {
			e.Journeys = append(e.Journeys, counted{Outcomes: map[journeys.Outcome]int64{}, Known: true, Letters: 3})
		}, "sentinelle has counted 0 journeys of 4 orders"},
		"sentinelle calls one lost": {func(e *evidence) {
			e.Journeys[0].Outcomes = map[journeys.Outcome]int64{journeys.InTime: 3, journeys.Lost: 1}
		}, "sentinelle calls 1 orders lost"},
		"sentinelle calls one contradictory": {func(e *evidence) {
			e.Journeys[0].Outcomes = map[journeys.Outcome]int64{journeys.InTime: 3, journeys.Contradictory: 1}
		}, "sentinelle calls 1 orders contradictory"},
		"sentinelle calls one purged": {func(e *evidence) {
			e.Journeys[0].Outcomes = map[journeys.Outcome]int64{journeys.InTime: 3, journeys.Purged: 1}
		}, "sentinelle calls 1 orders purged, the audit 0"},
		"sentinelle calls one dead-lettered": {func(e *evidence) {
			e.Journeys[0].Outcomes = map[journeys.Outcome]int64{journeys.InTime: 2, journeys.DeadLettered: 2}
		}, "sentinelle calls 2 orders dead-lettered, there are letters of 1"},
		"sentinelle has one wait":    {func(e *evidence) { e.Journeys[0].Waiting = 1 }, "sentinelle has 1 orders wait"},
		"sentinelle does not see":    {func(e *evidence) { e.Journeys[0].Known = false }, "(known: false)"},
		"sentinelle misses a letter": {func(e *evidence) { e.Journeys[0].Letters = 2 }, "sentinelle has 2 dead letters wait, the topics have 3"},
		"a letter that was given up": {func(e *evidence) {
			of := e.Records[banking.TopicOrdersDLQ][0]
			m := record.Marker{Letter: of.Place, Resolution: record.Purged, EventID: "event-order-3", At: time.Now()}.Message(of.Key)
			r := e.put(banking.TopicOrdersDLQ, "order-3", "", "", 0, []byte{})
			at := &e.Records[banking.TopicOrdersDLQ][r.Offset]
			at.Value, at.Headers = nil, m.Headers
		}, "sentinelle has 3 dead letters wait, the topics have 2"},
	} {
		t.Run(name, func(t *testing.T) {
			e := sound()
			tt.harm(&e)
			got := judge(e).Violations
			if !slices.ContainsFunc(got, func(v string) bool { return strings.Contains(v, tt.want) }) {
				t.Errorf("violations %q, want one with %q", got, tt.want)
			}
		})
	}
}

func TestCents(t *testing.T) {
	for text, want := range map[string]int64{"1": 100, "1.5": 150, "12.34": 1234, "0.01": 1, "1000000": 100000000} {
		if got, err := cents(json.Number(text)); err != nil || got != want {
			t.Errorf("cents(%s) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "1.005", "x", "1.x"} {
		if got, err := cents(json.Number(text)); err == nil {
			t.Errorf("cents(%q) = %d", text, got)
		}
	}
}
