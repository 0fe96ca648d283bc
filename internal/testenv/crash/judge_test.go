package crash

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/banking"
	vigie "github.com/vigie-dev/vigie/internal/record"
)

// sound is the evidence of a round in which all went well: order-1 authorised,
// order-2 rejected, order-3 dead-lettered, order-4 authorised and unanswered,
// and one poison record, one result republished.
func sound() evidence {
	e := evidence{
		Records: map[string][]record{}, Poison: map[position]record{}, Suivi: map[string]shown{}, SuiviTotal: 4,
		Totals: totals{Transactions: 3, Authorized: 2, Rejected: 1, Cents: 100 + 200 + 400},
	}
	for i := range int64(4) {
		id, user := fmt.Sprintf("order-%d", i+1), fmt.Sprintf("client-%d", i+1)
		e.put(banking.TopicOrdersCreated, id, user, "event-"+id, "CREATED", 100*(i+1), nil)
		a := answer{Request: user, Cents: 100 * (i + 1), Status: http.StatusCreated, OrderID: id, EventID: "event-" + id}
		if i == 3 {
			a = answer{Request: user, Cents: 400}
		}
		e.Answers = append(e.Answers, a)
	}
	e.result("order-1", "client-1", "AUTHORIZED", 100)
	e.result("order-2", "client-2", "REJECTED", 200)
	e.result("order-4", "client-4", "AUTHORIZED", 400)
	e.result("order-4", "client-4", "AUTHORIZED", 400)
	third := e.Records[banking.TopicOrdersCreated][2]
	e.letter(banking.TopicOrdersDLQ, third, banking.GroupPaiement)
	poison := e.put(banking.TopicPaymentsRejected, "order-9", "", "", "", 0, []byte("not JSON"))
	e.Poison[poison.position] = poison
	e.letter(banking.TopicPaymentsDLQ, poison, banking.GroupSuivi)
	e.letter(banking.TopicPaymentsDLQ, poison, banking.GroupAnalyseur)
	e.Suivi["order-1"] = shown{"PAYMENT_AUTHORIZED", 100, []string{"OrderCreated", "PaymentAuthorized"}}
	e.Suivi["order-2"] = shown{"PAYMENT_REJECTED", 200, []string{"OrderCreated", "PaymentRejected"}}
	e.Suivi["order-3"] = shown{"PAYMENT_FAILED", 300, []string{"OrderCreated", "PaymentFailed"}}
	e.Suivi["order-4"] = shown{"PAYMENT_AUTHORIZED", 400, []string{"PaymentAuthorized", "OrderCreated"}}
	return e
}

func (e *evidence) put(topic, id, user, eventID, status string, amount int64, value []byte) record {
	if value == nil {
		value = fmt.Appendf(nil, `{"eventId":%q,"orderId":%q,"userId":%q,"amount":%s,"status":%q}`, eventID, id, user, euros(amount), status)
	}
	r := record{
		position: vigie.At(topic, 1, int64(len(e.Records[topic]))), Key: id, Value: value,
		Headers: map[string]string{"eventId": eventID},
	}
	e.Records[topic] = append(e.Records[topic], r)
	return r
}

func (e *evidence) result(id, user, status string, amount int64) {
	topic := banking.TopicPaymentsAuthorized
	if status == "REJECTED" {
		topic = banking.TopicPaymentsRejected
	}
	r := e.put(topic, id, user, "result-"+id, status, amount, nil)
	r.Headers["originalEventId"] = "event-" + id
}

func (e *evidence) letter(topic string, of record, group string) {
	r := e.put(topic, of.Key, "", of.Headers["eventId"], "", 0, of.Value)
	for name, value := range map[string]string{
		"originalTopic": of.Topic, "originalPartition": fmt.Sprint(of.ID), "originalOffset": fmt.Sprint(of.Offset),
		"consumerGroup": group, "originalEventId": of.Headers["eventId"],
	} {
		r.Headers[name] = value
	}
}

// drop takes the records with a key off a topic.
func (e *evidence) drop(topic, id string) {
	e.Records[topic] = slices.DeleteFunc(e.Records[topic], func(r record) bool { return r.Key == id })
}

func TestAllIsWell(t *testing.T) {
	got := judge(sound())
	want := verdict{Acknowledged: 3, Unanswered: 1, Created: 4, Decided: 3, DeadLettered: 1, Republished: 1}
	if len(got.Violations) > 0 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("judge = %+v, want %+v", got, want)
	}
}

// Every promise that can be broken is seen to be broken.
func TestEachBrokenPromiseIsNamed(t *testing.T) {
	const created, authorized = banking.TopicOrdersCreated, banking.TopicPaymentsAuthorized
	for name, tt := range map[string]struct {
		harm func(*evidence)
		want string
	}{
		"acknowledged order lost": {func(e *evidence) { e.drop(created, "order-1") }, "order-1: acknowledged and not in the log"},
		"id given to two orders": {func(e *evidence) {
			e.put(created, "order-1", "client-9", "event-9", "CREATED", 900, nil)
		}, "order-1: the id was given twice"},
		"id told to two clients": {func(e *evidence) { e.Answers[1].OrderID = "order-1" }, "order-1: two clients were told this id"},
		"one request, two orders": {func(e *evidence) {
			e.put(created, "order-8", "client-1", "event-8", "CREATED", 100, nil)
		}, "the request of client-1 is also"},
		"an order nobody sent": {func(e *evidence) {
			e.put(created, "order-8", "client-8", "event-8", "CREATED", 100, nil)
		}, "order-8: nobody sent the request of client-8"},
		"another amount in the log":  {func(e *evidence) { e.Answers[0].Cents = 101 }, "order-1: 100 cents in the log, 101 were sent"},
		"an answer that is no 503":   {func(e *evidence) { e.Answers[3].Status = 500 }, "client-4 was answered with 500"},
		"undecided":                  {func(e *evidence) { e.drop(authorized, "order-1") }, "order-1: neither decided nor"},
		"decided twice, other event": {func(e *evidence) { e.twice("result-again") }, "order-1: decided twice"},
		"decided both ways":          {func(e *evidence) { e.result("order-1", "client-1", "REJECTED", 100) }, "order-1: decided twice"},
		"decided for another amount": {func(e *evidence) {
			e.drop(authorized, "order-1")
			e.result("order-1", "client-1", "AUTHORIZED", 1)
		}, "order-1: decided for 1 cents"},
		"decided for another event": {func(e *evidence) {
			e.Records[authorized][0].Headers["originalEventId"] = "event-x"
		}, "order-1: decided for event event-x"},
		"decided and dead-lettered": {func(e *evidence) {
			e.letter(banking.TopicOrdersDLQ, e.Records[created][0], banking.GroupPaiement)
		}, "order-1: decided and among the dead letters"},
		"an unexplained dead letter": {func(e *evidence) {
			e.letter(banking.TopicOrdersDLQ, e.Records[created][0], banking.GroupSuivi)
		}, "order-1: an unexplained dead letter"},
		"poison without its letter": {func(e *evidence) { e.Records[banking.TopicPaymentsDLQ] = nil }, "poison: no dead letter of"},
		"a letter with another value": {func(e *evidence) {
			e.Records[banking.TopicPaymentsDLQ][0].Value = []byte("x")
		}, "has key \"order-9\" and value \"x\""},
		"missing in suivi":       {func(e *evidence) { delete(e.Suivi, "order-2") }, "order-2: suivi does not know it"},
		"other amount in suivi":  {func(e *evidence) { e.Suivi["order-2"] = shown{"PAYMENT_REJECTED", 7, nil} }, "order-2: suivi shows"},
		"suivi shows it twice":   {func(e *evidence) { e.SuiviTotal++ }, "suivi counts 5 orders"},
		"analyseur counts twice": {func(e *evidence) { e.Totals.Transactions++ }, "analyseur says"},
		"analyseur is off":       {func(e *evidence) { e.Totals.Cents-- }, "analyseur says"},
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

// twice has order-1 decided a second time, by another event.
func (e *evidence) twice(eventID string) {
	r := e.put(banking.TopicPaymentsAuthorized, "order-1", "client-1", eventID, "AUTHORIZED", 100, nil)
	r.Headers["originalEventId"] = "event-order-1"
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
