package audit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
)

// unread judges records that are not what their topic promises: on
// orders.created they have to end among the dead letters too.
func (r *reconciliation) unread() {
	counts := &r.report.Unreadable
	for _, u := range r.log.unreadable {
		if u.at.Topic != banking.TopicOrdersCreated {
			counts.Elsewhere++
			continue
		}
		counts.Orders++
		switch {
		case r.log.letters[letterKey{banking.GroupPaiement, u.at}] != nil:
			counts.OrdersDeadLettered++
		case r.state.Paiement == nil:
		case r.pendingLetters[u.at] || !r.state.Paiement.Positions.read(u.at):
			counts.OrdersInFlight++
		default:
			r.differ(Lost, "", "paiement has read %s, which holds no order that can be read, and there is no dead letter%s", u.at, r.lettersCut(u.at))
			r.differences[len(r.differences)-1].subject = u.at.String()
		}
	}
}

// deadLetters looks at each dead letter by itself.
func (r *reconciliation) deadLetters() {
	bad := map[record.Place]bool{}
	for _, u := range r.log.unreadable {
		bad[u.at] = true
	}
	others := map[OtherDeadLetter]resolutions{}
	for key, l := range r.log.letters {
		r.report.Republished.DeadLetters += int64(len(l.at) - 1)
		if key.group != banking.GroupPaiement {
			kind := OtherDeadLetter{
				Group:  oneOf(key.group, banking.GroupSuivi, banking.GroupAnalyseur),
				Topic:  oneOf(l.origin.Topic, banking.TopicOrdersCreated, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected),
				Reason: oneOf(l.reason, delivery.Reasons()...),
			}
			others[kind] = others[kind].plus(r.log.resolution(l))
			continue
		}
		switch extent := r.log.extents[l.origin.Partition]; {
		case extent != nil && l.origin.Offset < extent.Start:
			r.report.OlderThanLog.DeadLetters++
		case !bad[l.origin] && !r.log.orders[l.orderID].createdAt(l.origin):
			r.differ(DeadLetterWithoutOrder, l.orderID, "%s says that it comes from %s, which is no such record", l.at[0], l.origin)
			r.differences[len(r.differences)-1].subject = l.origin.String()
		}
	}
	for _, kind := range slices.SortedFunc(maps.Keys(others), compareKinds) {
		n := others[kind]
		kind.Waiting, kind.Replayed, kind.Purged = n.waiting, n.replayed, n.purged
		r.report.OtherDeadLetters = append(r.report.OtherDeadLetters, kind)
	}
}

// letterOf returns paiement's dead letter for a record.
func (o *order) letterOf(at record.Place) *letters {
	for _, l := range o.letters {
		if l.origin == at {
			return l
		}
	}
	return nil
}

// lettersCut says so where dead letters have been deleted. They outlive their
// orders by the topics' retention, so that this excuses nothing by itself.
func (r *reconciliation) lettersCut(at record.Place) string {
	for p, extent := range r.log.extents {
		if p.Topic == banking.TopicOrdersDLQ && p.ID == at.ID && extent.Start > 0 {
			return fmt.Sprintf(" (dead letters before offset %d of %s have been deleted)", extent.Start, p)
		}
	}
	return ""
}

// createdAt says whether the order was created by the record of that place.
func (o *order) createdAt(at record.Place) bool {
	return o != nil && slices.ContainsFunc(o.created, func(c creation) bool { return c.at == at })
}

// resolutions counts what became of dead letters.
type resolutions struct{ waiting, replayed, purged int64 }

func (n resolutions) plus(r resolution) resolutions {
	switch {
	case r.purged:
		n.purged++
	case r.replayed:
		n.replayed++
	default:
		n.waiting++
	}
	return n
}

func compareKinds(a, b OtherDeadLetter) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Reason, b.Reason))
}

// oneOf bounds what a header may say: headers are whatever somebody sent.
func oneOf(text string, known ...string) string {
	if slices.Contains(known, text) {
		return text
	}
	return "other"
}
