package audit

import (
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
)

// creation is a record that says an order was created.
type creation struct {
	at     record.Place
	event  string
	amount banking.Money
	time   time.Time // the record's
}

// result is a record that says an order was decided.
type result struct {
	at     record.Place
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
	at      record.Place // of the letter itself
	origin  record.Place // of the record that was set aside
	group   string
	reason  string
	orderID string // "" if the letter holds no order that can be read
	event   string
	amount  banking.Money
}

// unreadable is a record that is not what its topic promises.
type unreadable struct{ at record.Place }

// decode reads one record of the log: a fact about the order of that id. What
// cannot be read is a fact too.
func decode(r record.Record) (orderID string, fact any) {
	if r.Topic == banking.TopicOrdersDLQ || r.Topic == banking.TopicPaymentsDLQ {
		return decodeSetAside(r)
	}
	event, err := delivery.Decode(r)
	if err != nil {
		return "", unreadable{r.Place}
	}
	cause := r.Header(record.HeaderOriginalEventID)
	switch e := event.(type) {
	case banking.OrderCreated:
		return e.OrderID, creation{r.Place, e.EventID, e.Amount, r.Time}
	case banking.PaymentAuthorized:
		return e.OrderID, result{r.Place, e.EventID, cause, e.Status, e.Amount, e.ProcessedAt}
	case banking.PaymentRejected:
		return e.OrderID, result{r.Place, e.EventID, cause, e.Status, e.Amount, e.ProcessedAt}
	default:
		return "", unreadable{r.Place}
	}
}

// decodeSetAside reads a record of a dead-letter topic: a dead letter, or a
// marker.
func decodeSetAside(r record.Record) (orderID string, fact any) {
	origin, held, err := record.ParseOrigin(r)
	if err != nil {
		m, err := record.ParseMarker(r)
		if err != nil {
			return "", unreadable{r.Place}
		}
		return "", m
	}
	l := letter{at: r.Place, origin: origin.Place, group: origin.Group, reason: origin.Reason}
	if order, err := delivery.DecodeAs[banking.OrderCreated](held); err == nil {
		l.orderID, l.event, l.amount = order.OrderID, order.EventID, order.Amount
	}
	return l.orderID, l
}
