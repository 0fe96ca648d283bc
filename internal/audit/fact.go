package audit

import (
	"strings"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
)

// What a marker says became of a dead letter.
const (
	replayed = "replayed"
	purged   = "purged"
)

// creation is a record that says an order was created.
type creation struct {
	at     Place
	event  string
	amount banking.Money
	time   time.Time // the record's
}

// result is a record that says an order was decided.
type result struct {
	at     Place
	event  string
	cause  string // the order's event, "" if the record does not say
	status string
	amount banking.Money
	time   time.Time // of the decision
}

// shown is the status that the decision gives to its order.
func (f result) shown() banking.OrderStatus {
	if f.status == banking.StatusAuthorized {
		return banking.OrderStatusAuthorized
	}
	return banking.OrderStatusRejected
}

// letter is a dead letter: a record that a group set aside.
type letter struct {
	at      Place // of the letter itself
	origin  Place // of the record that was set aside
	group   string
	reason  string
	orderID string // "" if the letter holds no order that can be read
	event   string
	amount  banking.Money
}

// marker says what became of a dead letter.
type marker struct {
	resolves   Place
	resolution string
}

// unreadable is a record that is not what its topic promises.
type unreadable struct{ at Place }

// decode reads one record of the log: a fact about the order of that id. What
// cannot be read is a fact too.
func decode(r record.Record) (orderID string, fact any) {
	at := Place{r.Partition, r.Offset}
	if r.Topic == banking.TopicOrdersDLQ || r.Topic == banking.TopicPaymentsDLQ {
		return decodeSetAside(at, r)
	}
	event, err := delivery.Decode(r)
	if err != nil || banking.TopicOf(event.Type()) != r.Topic {
		return "", unreadable{at}
	}
	cause := r.Header(record.HeaderOriginalEventID)
	switch e := event.(type) {
	case banking.OrderCreated:
		return e.OrderID, creation{at, e.EventID, e.Amount, r.Time}
	case banking.PaymentAuthorized:
		return e.OrderID, result{at, e.EventID, cause, e.Status, e.Amount, e.ProcessedAt}
	case banking.PaymentRejected:
		return e.OrderID, result{at, e.EventID, cause, e.Status, e.Amount, e.ProcessedAt}
	default:
		return "", unreadable{at}
	}
}

// decodeSetAside reads a record of a dead-letter topic: a dead letter, or a
// marker. What a record that was set aside has in its own headers makes no
// marker.
func decodeSetAside(at Place, r record.Record) (orderID string, fact any) {
	added, _, ok := record.SplitDeadLetter(r.Headers)
	if !ok {
		return "", decodeMarker(at, r)
	}
	why := record.Record{Headers: added}
	origin, ok := parsePlace(strings.Join([]string{
		why.Header(record.HeaderOriginalTopic), why.Header(record.HeaderOriginalPartition), why.Header(record.HeaderOriginalOffset),
	}, "/"))
	if !ok {
		return "", unreadable{at}
	}
	l := letter{at: at, origin: origin, group: why.Header(record.HeaderConsumerGroup), reason: why.Header(record.HeaderErrorReason)}
	if order, err := delivery.DecodeAs[banking.OrderCreated](r); err == nil && origin.Topic == banking.TopicOrdersCreated {
		l.orderID, l.event, l.amount = order.OrderID, order.EventID, order.Amount
	}
	return l.orderID, l
}

func decodeMarker(at Place, r record.Record) any {
	place, ok := parsePlace(r.Header(record.HeaderResolves))
	what := r.Header(record.HeaderResolution)
	if r.Value != nil || !ok || place.Topic != r.Topic || what != replayed && what != purged {
		return unreadable{at}
	}
	return marker{place, what}
}
