package suivi

import (
	"cmp"
	"slices"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
)

// fact is what one record says about an order.
type fact struct {
	EventID string
	Type    string
	At      time.Time
	Status  banking.OrderStatus

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
		if m.Type == banking.TypePaymentFailed {
			return m.EventID
		}
	}
	return ""
}

// withoutOldestFailure makes room in a full history: what created and decided
// an order stays.
func withoutOldestFailure(events []moment) []moment {
	i := slices.IndexFunc(events, func(m moment) bool { return m.Type == banking.TypePaymentFailed })
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
	Status            banking.OrderStatus
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

// project adds a fact to what is known of an order. Facts may come in any
// order and more than once; the result is the same, and the status never goes
// back.
func project(v view, f fact) view {
	if seen(v.Events, f.EventID) {
		return v
	}
	if len(v.Events) >= banking.MaxOrderEvents {
		v.Events = withoutOldestFailure(v.Events)
	}
	if len(v.Events) < banking.MaxOrderEvents {
		v.Events = append(slices.Clone(v.Events), moment{f.EventID, f.Type, f.At})
		slices.SortFunc(v.Events, moment.compare)
	}
	v.OrderID, v.UserID, v.Amount = f.OrderID, f.UserID, f.Amount
	if f.Type == banking.TypeOrderCreated {
		v.Items, v.CreatedAt, v.ListedAt = f.Items, f.At, f.At
	} else if v.ListedAt.IsZero() {
		v.ListedAt = f.At // until OrderCreated comes
	}
	newReason := f.Status == banking.OrderStatusFailed && v.Status == banking.OrderStatusFailed && lastFailure(v.Events) == f.EventID
	if newReason || f.Status.Replaces(v.Status) {
		v.Status = f.Status
		v.AuthorizationCode, v.RejectionReason, v.FailureReason = f.AuthorizationCode, f.RejectionReason, f.FailureReason
		if f.Status.Decided() {
			v.ProcessedAt = f.At
		}
	}
	if f.At.After(v.UpdatedAt) {
		v.UpdatedAt = f.At
	}
	return v
}
