package audit

import (
	"fmt"

	"github.com/vigie-dev/vigie/internal/banking"
)

// account puts one created order into exactly one of the report's sums.
func (r *reconciliation) account(id string, o *order, e event) {
	r.report.Created = r.report.Created.plus(e.amount)
	r.report.Republished.Orders += int64(len(e.places) - 1)
	for _, c := range o.created {
		if c.event == e.id && c.amount != e.amount {
			r.differ(CreatedTwice, id, "its event %s is %s at %s and %s at %s", e.id, e.amount, e.places[0], c.amount, c.at)
			break
		}
	}
	sum := r.sumOf(id, o, e)
	if sum == nil {
		r.report.Unaccounted = r.report.Unaccounted.plus(e.amount)
		return
	}
	*sum = sum.plus(e.amount)
}

// sumOf returns the sum that an order belongs to, or nil where there is none:
// then it has noted the difference.
func (r *reconciliation) sumOf(id string, o *order, e event) *Sum {
	if found, ok := o.resultOf(e); ok {
		if found.amount != e.amount {
			r.differ(AmountDiffers, id, "ordered for %s at %s, decided for %s at %s", e.amount, e.places[0], found.amount, found.at)
		}
		return r.decidedSum(found.status)
	}
	if r.state.Paiement == nil {
		return r.unknown(id, o, e)
	}
	if r.pendingResults[id] {
		return &r.report.InFlight
	}
	if row, ok := r.ledgerRows[id]; ok && row.EventID == e.id {
		if r.cutResult(row, e.places[0].ID) {
			return r.decidedSum(row.Status)
		}
		r.missing(LedgerWithoutResult, id, e, "the ledger has it %s by %s, which is neither in the log nor in the outbox",
			row.Status, row.ResultEventID)
		return nil
	}
	if r.onTheWay(e) {
		return &r.report.InFlight
	}
	return r.setAside(id, o, e)
}

// resultOf returns the result that decides the order's event. Where the order
// was created once, a result that names another event can only be for it.
func (o *order) resultOf(e event) (result, bool) {
	for _, f := range o.results {
		if f.cause == e.id || f.event == banking.ResultEventID(e.id) {
			return f, true
		}
	}
	if len(o.results) > 0 && len(o.created) == len(e.places) {
		return o.results[0], true
	}
	return result{}, false
}

func (r *reconciliation) decidedSum(status string) *Sum {
	if status == banking.StatusAuthorized {
		return &r.report.Authorized
	}
	return &r.report.Rejected
}

// onTheWay says whether paiement has not read the order yet, or has not yet
// published its dead letter.
func (r *reconciliation) onTheWay(e event) bool {
	for _, at := range e.places {
		if r.pendingLetters[at] || !r.state.Paiement.Positions.read(at) {
			return true
		}
	}
	return false
}

// setAside judges an order that paiement has read and not decided: each of its
// records is a dead letter.
func (r *reconciliation) setAside(id string, o *order, e event) *Sum {
	var last resolution
	waiting := false
	for _, at := range e.places {
		l := o.letterOf(at)
		if l == nil {
			if r.forgets(e.time) && r.log.cut(banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected) {
				return &r.report.CannotTell
			}
			r.missing(Lost, id, e, "paiement has read %s and there is no decision and no dead letter%s", at, r.lettersCut(at))
			return nil
		}
		last = r.log.resolution(l)
		waiting = waiting || last == resolution{}
	}
	switch {
	case waiting:
		return &r.report.DeadLettered
	case last.purged:
		return &r.report.Purged
	}
	r.missing(Lost, id, e, "its dead letter for %s is marked as replayed and no later record has it", e.places[len(e.places)-1])
	return nil
}

// unknown accounts for an order by the log alone.
func (r *reconciliation) unknown(id string, o *order, e event) *Sum {
	for _, l := range o.letters {
		if l.event != e.id {
			continue
		}
		switch r.log.resolution(l) {
		case resolution{}:
			return &r.report.DeadLettered
		case resolution{purged: true}:
			return &r.report.Purged
		}
	}
	r.missing(Undecided, id, e, "%s has no decision and no dead letter", e.places[0])
	return nil
}

// missing notes a difference that takes an order out of the account.
func (r *reconciliation) missing(kind Kind, id string, e event, format string, args ...any) {
	r.differences = append(r.differences, Difference{
		Kind: kind, OrderID: id, Detail: fmt.Sprintf(format, args...), subject: e.id, missing: Sum{1, e.amount},
	})
}
