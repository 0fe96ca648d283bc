package suivi

import (
	"cmp"
	"slices"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
)

// Status is an order's status as clients see it.
type Status string

// The statuses, in the order in which they may follow each other.
const (
	StatusCreated    Status = "ORDER_CREATED"
	StatusFailed     Status = "PAYMENT_FAILED" // dead-lettered; a replay may still decide it
	StatusAuthorized Status = "PAYMENT_AUTHORIZED"
	StatusRejected   Status = "PAYMENT_REJECTED"
)

// rank orders the statuses: a status gives way to a higher one only.
func (s Status) rank() int {
	switch s {
	case StatusCreated:
		return 1
	case StatusFailed:
		return 2
	case StatusAuthorized, StatusRejected:
		return 3
	default:
		return 0
	}
}

// typePaymentFailed is how a dead-lettered payment stands in an order's
// history, beside the types of the events.
const typePaymentFailed = "PaymentFailed"

// maxEvents bounds an order's history: an order has two events, and one more
// for each failed try to pay it.
const maxEvents = 50

// fact is what one record says about an order.
type fact struct {
	EventID string
	Type    string
	At      time.Time
	Status  Status

	OrderID string
	UserID  string
	Amount  banking.Money
	Items   []string // of OrderCreated

	AuthorizationCode string
	RejectionReason   string
	FailureReason     string
}

// moment is one event in an order's history.
type moment struct {
	EventID string    `json:"id"`
	Type    string    `json:"type"`
	At      time.Time `json:"at"`
}

// compare gives moments their order by time; those of one time have an order
// too, so that it does not depend on which came first.
func (m moment) compare(n moment) int {
	return cmp.Or(m.At.Compare(n.At), cmp.Compare(m.Type, n.Type), cmp.Compare(m.EventID, n.EventID))
}

// lastFailure returns the id of the latest failed try to pay, or "".
func lastFailure(events []moment) string {
	for _, m := range slices.Backward(events) {
		if m.Type == typePaymentFailed {
			return m.EventID
		}
	}
	return ""
}

// withoutOldestFailure makes room in a full history: what created and decided
// an order stays.
func withoutOldestFailure(events []moment) []moment {
	i := slices.IndexFunc(events, func(m moment) bool { return m.Type == typePaymentFailed })
	if i < 0 {
		return events
	}
	return slices.Delete(slices.Clone(events), i, i+1)
}

// view is an order as last known.
type view struct {
	OrderID           string
	UserID            string
	Amount            banking.Money
	Items             []string
	Status            Status
	AuthorizationCode string
	RejectionReason   string
	FailureReason     string
	CreatedAt         time.Time // zero until OrderCreated has been seen
	ProcessedAt       time.Time // zero until decided
	ListedAt          time.Time
	UpdatedAt         time.Time
	Events            []moment

	Revision int64 // as it was found; 0 for an order that nobody knew
}

// seen says whether the history has an event.
func seen(events []moment, id string) bool {
	return slices.ContainsFunc(events, func(m moment) bool { return m.EventID == id })
}

// contradicts says whether a history has another event that says what the fact
// says: an order is created once and decided once.
func contradicts(events []moment, f fact) bool {
	decides := func(eventType string) bool {
		return eventType == banking.TypePaymentAuthorized || eventType == banking.TypePaymentRejected
	}
	return slices.ContainsFunc(events, func(m moment) bool {
		return m.EventID != f.EventID && f.Type != typePaymentFailed && (m.Type == f.Type || decides(m.Type) && decides(f.Type))
	})
}

// project adds a fact to what is known of an order. Facts may come in any
// order and more than once; the result is the same, and the status never goes
// back.
func project(v view, f fact) view {
	if seen(v.Events, f.EventID) {
		return v
	}
	if len(v.Events) >= maxEvents {
		v.Events = withoutOldestFailure(v.Events)
	}
	if len(v.Events) < maxEvents {
		v.Events = append(slices.Clone(v.Events), moment{f.EventID, f.Type, f.At})
		slices.SortFunc(v.Events, moment.compare)
	}
	v.OrderID, v.UserID, v.Amount = f.OrderID, f.UserID, f.Amount
	if f.Type == banking.TypeOrderCreated {
		v.Items, v.CreatedAt, v.ListedAt = f.Items, f.At, f.At
	} else if v.ListedAt.IsZero() {
		v.ListedAt = f.At // until OrderCreated comes
	}
	newReason := f.Status == StatusFailed && v.Status == StatusFailed && lastFailure(v.Events) == f.EventID
	if newReason || f.Status.rank() > v.Status.rank() {
		v.Status = f.Status
		v.AuthorizationCode, v.RejectionReason, v.FailureReason = f.AuthorizationCode, f.RejectionReason, f.FailureReason
		if f.Status == StatusAuthorized || f.Status == StatusRejected {
			v.ProcessedAt = f.At
		}
	}
	if f.At.After(v.UpdatedAt) {
		v.UpdatedAt = f.At
	}
	return v
}
