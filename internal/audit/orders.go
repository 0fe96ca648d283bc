package audit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
)

// checkOrders accounts for every order, by the log and by paiement's state.
func (r *reconciliation) checkOrders() {
	for id, o := range r.log.orders {
		r.checkOrder(id, o)
	}
	r.checkUnreadable()
	r.checkLedger()
	r.checkDeadLetters()
}

func (r *reconciliation) checkOrder(id string, o *order) {
	events := eventsOf(o.created)
	for _, e := range events {
		r.accountFor(id, o, e)
	}
	if len(events) > 1 {
		r.note(CreatedTwice, id, "its id was given to the events %s (%s) and %s (%s)",
			events[0].id, events[0].places[0], events[1].id, events[1].places[0])
	}
	r.checkResults(id, o, events)
}

// event is one order as it was created: all records with its event id.
type event struct {
	id     string
	user   uint64
	amount banking.Money
	places []record.Place
	time   time.Time // of the first record
}

// eventsOf groups an order's records by event, first come first.
func eventsOf(created []creation) []event {
	var events []event
	for _, c := range created {
		known := false
		for i := range events {
			if events[i].id == c.event {
				events[i].places, known = append(events[i].places, c.at), true
			}
		}
		if !known {
			events = append(events, event{c.event, c.user, c.amount, []record.Place{c.at}, c.time})
		}
	}
	return events
}

// accountFor puts one created order into exactly one of the report's sums.
func (r *reconciliation) accountFor(id string, o *order, e event) {
	r.report.Created = r.report.Created.plus(e.amount)
	r.report.Republished.Orders += int64(len(e.places) - 1)
	for _, c := range o.created {
		if c.event == e.id && c.amount != e.amount {
			r.note(CreatedTwice, id, "its event %s is %s at %s and %s at %s", e.id, e.amount, e.places[0], c.amount, c.at)
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
		r.checkDecision(id, o, e, found)
		return r.decidedSum(found.status)
	}
	if r.state.Paiement == nil {
		return r.sumByLogAlone(id, o, e)
	}
	if r.pendingResults[id] {
		return &r.report.InFlight
	}
	if row, ok := r.ledgerRows[id]; ok && row.EventID == e.id {
		if r.cutResult(row, e.places[0].ID) {
			return r.decidedSum(row.Status)
		}
		r.leaveOut(LedgerWithoutResult, id, e, "the ledger has it %s by %s, which is neither in the log nor in the outbox",
			row.Status, row.ResultEventID)
		return nil
	}
	if r.onTheWay(e) {
		return &r.report.InFlight
	}
	return r.sumOfDeadLetters(id, o, e)
}

// checkDecision compares a decision with the order that it was made on. A
// record that became a dead letter was not decided; where retention has cut the
// log, the record that was may be gone.
func (r *reconciliation) checkDecision(id string, o *order, e event, found result) {
	at := e.places[0]
	if found.amount != e.amount {
		r.note(AmountDiffers, id, "ordered for %s at %s, decided for %s at %s", e.amount, at, found.amount, found.at)
	}
	if found.user != e.user {
		r.note(UserDiffers, id, "ordered at %s by another user than it is decided for at %s", at, found.at)
	}
	if found.cause != e.id && !r.log.lostBefore(banking.TopicOrdersCreated, at.ID, found.time) {
		r.note(CauseDiffers, id, "created by %s at %s, decided at %s for the event %q", e.id, at, found.at, found.cause)
	}
	undecided := func(at record.Place) bool { return o.letterOf(at) == nil }
	if extent := r.log.extents[at.Partition]; !slices.ContainsFunc(e.places, undecided) && (extent == nil || extent.Start == 0) {
		r.note(DecidedAndDeadLettered, id, "%s at %s, and each of its records is a dead letter, %s at %s", found.status, found.at,
			at, o.letterOf(at).at[0])
	}
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

// sumOfDeadLetters returns the sum of an order that paiement has read and not
// decided: each of its records is a dead letter.
func (r *reconciliation) sumOfDeadLetters(id string, o *order, e event) *Sum {
	var last resolution
	waiting := false
	for _, at := range e.places {
		l := o.letterOf(at)
		if l == nil {
			if r.forgets(e.time) && r.log.cut(banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected) {
				return &r.report.CannotTell
			}
			r.leaveOut(Lost, id, e, "paiement has read %s and there is no decision and no dead letter%s", at, r.lettersCut(at))
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
	r.leaveOut(Lost, id, e, "its dead letter for %s is marked as replayed and no later record has it", e.places[len(e.places)-1])
	return nil
}

// sumByLogAlone returns the sum of an order where paiement was not looked at.
func (r *reconciliation) sumByLogAlone(id string, o *order, e event) *Sum {
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
	r.leaveOut(Undecided, id, e, "%s has no decision and no dead letter", e.places[0])
	return nil
}

// leaveOut notes a difference that takes an order out of the account.
func (r *reconciliation) leaveOut(kind Kind, id string, e event, format string, args ...any) {
	r.differences = append(r.differences, Difference{
		Kind: kind, OrderID: id, Detail: fmt.Sprintf(format, args...), subject: e.id, missing: Sum{1, e.amount},
	})
}

// checkResults checks what decided an order: once, for an order, and as the ledger
// has it.
func (r *reconciliation) checkResults(id string, o *order, events []event) {
	if len(o.results) == 0 {
		return
	}
	different := distinct(o.results)
	r.report.Republished.Results += int64(len(o.results) - len(different))
	first := different[0]
	if len(different) > 1 {
		r.note(DecidedTwice, id, "%s by %s at %s and %s by %s at %s", first.status, first.event, first.at,
			different[1].status, different[1].event, different[1].at)
	}
	row, inLedger := r.ledgerRows[id]
	switch {
	case len(events) == 0 && r.orderCut(first, inLedger):
		r.report.OlderThanLog.Results++
	case len(events) == 0:
		r.note(ResultWithoutOrder, id, "%s by %s at %s, and no record of orders.created has it", first.status, first.event, first.at)
	case r.state.Paiement == nil:
	case !inLedger:
		if r.state.asNewAs(first.at) && !r.forgets(first.time) {
			r.note(ResultWithoutLedger, id, "%s by %s at %s, and the ledger has no row of it", first.status, first.event, first.at)
		}
	default:
		r.compareRow(row, different, events)
	}
}

// distinct leaves one of each decision: what differs in event, status or
// amount was not merely published again.
func distinct(all []result) []result {
	out := all[:1:1]
	for _, f := range all[1:] {
		known := false
		for _, g := range out {
			known = known || g.event == f.event && g.status == f.status && g.amount == f.amount
		}
		if !known {
			out = append(out, f)
		}
	}
	return out
}

// orderCut says whether a result's order may be on the part of the log that
// retention has cut.
func (r *reconciliation) orderCut(f result, inLedger bool) bool {
	if !r.log.cut(banking.TopicOrdersCreated) {
		return false
	}
	return inLedger || r.state.Paiement == nil ||
		r.log.lostBefore(banking.TopicOrdersCreated, r.log.samePartition(banking.TopicOrdersCreated, f.at), f.time)
}

// compareRow compares a ledger row with the order's results in the log.
func (r *reconciliation) compareRow(row LedgerRow, found []result, events []event) {
	var same *result
	for i := range found {
		if found[i].event == row.ResultEventID {
			same = &found[i]
			break
		}
	}
	switch {
	case same == nil:
		r.note(LedgerDisagrees, row.OrderID, "the ledger has it %s by %s, the log by %s at %s",
			row.Status, row.ResultEventID, found[0].event, found[0].at)
	case same.status != row.Status || same.amount != row.Amount:
		r.note(LedgerDisagrees, row.OrderID, "the ledger has it %s for %s, the log %s for %s at %s",
			row.Status, row.Amount, same.status, same.amount, same.at)
	default:
		r.compareCause(row, events)
	}
}

// compareCause checks that a ledger row decided an event that was there.
func (r *reconciliation) compareCause(row LedgerRow, events []event) {
	for _, e := range events {
		if e.id == row.EventID {
			return
		}
	}
	if !r.log.lostBefore(banking.TopicOrdersCreated, events[0].places[0].ID, row.ProcessedAt) {
		r.note(LedgerDisagrees, row.OrderID, "the ledger has it decided for the event %q, the log has it created by %s at %s",
			row.EventID, events[0].id, events[0].places[0])
	}
}

// checkLedger checks the rows whose result is not in the log; the others have been
// compared with their results.
func (r *reconciliation) checkLedger() {
	for _, row := range r.ledgerRows {
		o := r.log.orders[row.OrderID]
		switch {
		case o != nil && len(o.results) > 0:
		case o != nil && len(o.created) > 0:
			r.compareCause(row, eventsOf(o.created)) // the result was looked for where the order was accounted for
		case r.pendingResults[row.OrderID]:
		case r.cutResult(row, -1):
			r.report.OlderThanLog.Ledger++
		default:
			r.note(LedgerWithoutResult, row.OrderID, "the ledger has it %s by %s, and the log has neither the order nor the result",
				row.Status, row.ResultEventID)
		}
	}
}

// cutResult says whether a ledger row's result may be on the part of the log
// that retention has cut. The partition is that of the order, or -1.
func (r *reconciliation) cutResult(row LedgerRow, partition int32) bool {
	topic := banking.TopicPaymentsRejected
	if row.Status == banking.StatusAuthorized {
		topic = banking.TopicPaymentsAuthorized
	}
	if partition >= 0 {
		partition = r.log.samePartition(topic, record.At(banking.TopicOrdersCreated, partition, 0))
	}
	return r.log.lostBefore(topic, partition, row.ProcessedAt)
}

// checkUnreadable checks records that are not what their topic promises: on
// orders.created they have to end among the dead letters too.
func (r *reconciliation) checkUnreadable() {
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
			r.note(Lost, "", "paiement has read %s, which holds no order that can be read, and there is no dead letter%s", u.at, r.lettersCut(u.at))
			r.differences[len(r.differences)-1].subject = u.at.String()
		}
	}
}

// checkDeadLetters looks at each dead letter by itself.
func (r *reconciliation) checkDeadLetters() {
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
			r.note(DeadLetterWithoutOrder, l.orderID, "%s says that it comes from %s, which is no such record", l.at[0], l.origin)
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
