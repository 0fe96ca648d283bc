package crash

import (
	"fmt"
	"net/http"

	"github.com/vigie-dev/vigie/internal/banking"
)

// order is everything that the topics say about one order.
type order struct {
	event   event
	cents   int64
	copies  int // of its OrderCreated
	result  event
	topic   string // of the result, "" where there is none
	letters map[string]bool
}

// judge holds the four sides against each other.
func judge(e evidence) verdict {
	j := &judgement{evidence: e, orders: map[string]*order{}}
	j.created()
	j.answered()
	j.decided()
	j.setAside()
	j.accounted()
	j.views()
	return j.verdict
}

// judgement is a verdict in the making.
type judgement struct {
	evidence
	verdict
	orders map[string]*order
}

func (j *judgement) violated(format string, args ...any) {
	j.Violations = append(j.Violations, fmt.Sprintf(format, args...))
}

// created reads the orders: an id stands for one event only, however often it
// was published.
func (j *judgement) created() {
	for _, r := range j.Records[banking.TopicOrdersCreated] {
		if _, ours := j.Poison[r.position]; ours {
			continue
		}
		e, amount, err := decode(r)
		if err != nil {
			j.violated("an order cannot be read: %v", err)
			continue
		}
		known := j.orders[e.OrderID]
		switch {
		case known == nil:
			j.orders[e.OrderID] = &order{event: e, cents: amount, copies: 1, letters: map[string]bool{}}
			j.Created++
		case known.event == e:
			known.copies++
			j.Republished++
		default:
			j.violated("%s: the id was given twice, to events %s and %s", e.OrderID, known.event.EventID, e.EventID)
		}
	}
}

// answered holds what clients sent and were told against the orders in the
// log. Every request has a user of its own, so that a request that became two
// orders shows, and one that was never made.
func (j *judgement) answered() {
	byRequest := map[string]*order{}
	for id, o := range j.orders {
		if other := byRequest[o.event.UserID]; other != nil {
			j.violated("%s: the request of %s is also %s", id, o.event.UserID, other.event.OrderID)
		}
		byRequest[o.event.UserID] = o
	}
	given := map[string]bool{}
	for _, a := range j.Answers {
		o := byRequest[a.Request]
		delete(byRequest, a.Request)
		if o != nil && o.cents != a.Cents {
			j.violated("%s: %d cents in the log, %d were sent", o.event.OrderID, o.cents, a.Cents)
		}
		if a.Status != http.StatusCreated {
			if a.Status != 0 && a.Status != http.StatusServiceUnavailable {
				j.violated("the request of %s was answered with %d", a.Request, a.Status)
			}
			j.Unanswered++
			continue
		}
		j.Acknowledged++
		if given[a.OrderID] {
			j.violated("%s: two clients were told this id", a.OrderID)
		}
		given[a.OrderID] = true
		switch {
		case o == nil:
			j.violated("%s: acknowledged and not in the log", a.OrderID)
		case o.event.OrderID != a.OrderID || o.event.EventID != a.EventID:
			j.violated("%s: the log has the request as %s, event %s", a.OrderID, o.event.OrderID, o.event.EventID)
		}
	}
	for request, o := range byRequest {
		j.violated("%s: nobody sent the request of %s", o.event.OrderID, request)
	}
}

// decided reads the results: one for an order, of its event and amount.
func (j *judgement) decided() {
	for _, topic := range []string{banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected} {
		for _, r := range j.Records[topic] {
			if _, ours := j.Poison[r.position]; ours {
				continue
			}
			e, amount, err := decode(r)
			if err != nil {
				j.violated("a result cannot be read: %v", err)
				continue
			}
			o := j.orders[e.OrderID]
			switch {
			case o == nil:
				j.violated("%s: decided and never created", e.OrderID)
			case amount != o.cents || e.UserID != o.event.UserID:
				j.violated("%s: decided for %d cents of %s, created for %d of %s", e.OrderID, amount, e.UserID, o.cents, o.event.UserID)
			case r.Headers["originalEventId"] != o.event.EventID:
				j.violated("%s: decided for event %s, created as %s", e.OrderID, r.Headers["originalEventId"], o.event.EventID)
			case o.topic == "":
				o.result, o.topic = e, topic
				j.Decided++
			case o.result == e:
				j.Republished++
			default:
				j.violated("%s: decided twice, events %s (%s) and %s (%s)", e.OrderID, o.result.EventID, o.result.Status, e.EventID, e.Status)
			}
		}
	}
}

// accounted wants every order decided once or among the dead letters. Only an
// order that was published twice may be both: its second record is a second
// try.
func (j *judgement) accounted() {
	for id, o := range j.orders {
		if len(o.letters) > 0 {
			j.DeadLettered++
		}
		switch {
		case o.topic == "" && len(o.letters) == 0:
			j.violated("%s: neither decided nor among the dead letters", id)
		case o.topic != "" && len(o.letters) > 0 && o.copies == 1:
			j.violated("%s: decided and among the dead letters", id)
		case len(o.letters) > o.copies:
			j.violated("%s: %d dead letters of %d records", id, len(o.letters), o.copies)
		}
	}
}
