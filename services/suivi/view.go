package suivi

import (
	"cmp"
	"slices"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
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

	Cause  string         // the order's event that was decided, or failed to be; "" where nothing says so
	Record *record.Record // which said it, of a decision
	// Strangers is how many moments of the history are about another order, of
	// those that were known before OrderCreated.
	Strangers int
}

// moment is one event in an order's history.
type moment struct {
	EventID string    `json:"id"`
	Type    string    `json:"type"`
	At      time.Time `json:"at"`

	// Until OrderCreated has been seen: the fact's Cause and Record.
	Cause  string         `json:"cause,omitempty"`
	Record *record.Record `json:"record,omitempty"`
}

// about says whether the moment is about the order that an event created. Of a
// decision that does not say so, its id does.
func (m moment) about(created string) bool {
	switch {
	case m.Type == banking.TypeOrderCreated:
		return m.EventID == created
	case m.Cause != "":
		return m.Cause == created
	case m.Type == banking.TypePaymentFailed:
		return true
	default:
		return m.EventID == banking.ResultEventID(created)
	}
}

func (f fact) moment() moment { return moment{f.EventID, f.Type, f.At, f.Cause, f.Record} }

// creation returns the id of the event that created the order, "" where it has
// not been seen.
func creation(events []moment) string {
	i := slices.IndexFunc(events, func(m moment) bool { return m.Type == banking.TypeOrderCreated })
	if i < 0 {
		return ""
	}
	return events[i].EventID
}

// strangers returns those of the moments that are about another order than the
// one that an event creates.
func strangers(events []moment, created string) []moment {
	return slices.DeleteFunc(slices.Clone(events), func(m moment) bool { return m.about(created) })
}

// contradicts says whether a history says otherwise than the fact: an order is
// created once and decided once, and its decision is about the event that
// created it.
func contradicts(events []moment, f fact) bool {
	decides := func(eventType string) bool { return banking.StatusAfter(eventType).Decided() }
	if created := creation(events); created != "" && !f.moment().about(created) {
		return true
	}
	return slices.ContainsFunc(events, func(m moment) bool {
		return m.EventID != f.EventID && (decides(m.Type) && decides(f.Type))
	})
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
	if f.Type == banking.TypeOrderCreated {
		v = v.createdBy(f.EventID)
	}
	if len(v.Events) >= banking.MaxOrderEvents {
		v.Events = withoutOldestFailure(v.Events)
	}
	if len(v.Events) < banking.MaxOrderEvents {
		m := f.moment()
		if !v.CreatedAt.IsZero() {
			m.Cause, m.Record = "", nil // it has been compared
		}
		v.Events = append(slices.Clone(v.Events), m)
		slices.SortFunc(v.Events, moment.compare)
	}
	v.OrderID = f.OrderID
	if f.Type == banking.TypeOrderCreated {
		v.UserID, v.Amount, v.Items, v.CreatedAt, v.ListedAt = f.UserID, f.Amount, f.Items, f.At, f.At
	} else if v.CreatedAt.IsZero() { // until OrderCreated comes
		v.UserID, v.Amount = f.UserID, f.Amount
		if v.ListedAt.IsZero() {
			v.ListedAt = f.At
		}
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

// createdBy is the view once it is known which event created the order: nothing
// of another order is left in it, whose customer may be another too.
func (v view) createdBy(created string) view {
	ours := slices.DeleteFunc(slices.Clone(v.Events), func(m moment) bool { return !m.about(created) })
	for i := range ours {
		ours[i].Cause, ours[i].Record = "", nil
	}
	if len(ours) == len(v.Events) {
		v.Events = ours
		return v
	}
	w := view{OrderID: v.OrderID, Events: ours, Revision: v.Revision}
	for _, m := range ours {
		if s := banking.StatusAfter(m.Type); s.Replaces(w.Status) {
			w.Status = s
		}
		if m.At.After(w.UpdatedAt) {
			w.UpdatedAt = m.At
		}
	}
	if w.Status == v.Status {
		w.AuthorizationCode, w.RejectionReason, w.FailureReason, w.ProcessedAt = v.AuthorizationCode, v.RejectionReason, v.FailureReason, v.ProcessedAt
	}
	return w
}
