package audit

import (
	"cmp"
	"slices"
	"strings"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
)

// maxFacts is how many records of one order are kept to judge it. No order has
// nearly as many.
const maxFacts = 2_000

// order is all that is known about one order: what the log says, and the
// services' rows.
type order struct {
	id      string
	created []creation
	results []result
	letters []letters // of paiement
	purges  []purge

	pendingResults []string                  // events of results in the outbox
	pendingLetters map[record.Place]bool     // records whose dead letter is in the outbox
	byOrigin       map[record.Place]*letters // made by settle

	row         *ledgerRow
	view        *view
	transaction *transaction

	tooMany bool
}

// add takes one fact of the order.
func (o *order) add(value []byte) (err error) {
	if len(o.created)+len(o.results)+len(o.letters)+len(o.purges)+len(o.pendingResults)+len(o.pendingLetters) >= maxFacts {
		o.tooMany = true
	}
	switch kind := value[0]; {
	case kind == factRow:
		o.row, err = take(value, &ledgerRow{})
	case kind == factView:
		o.view, err = take(value, &view{})
	case kind == factTransaction:
		o.transaction, err = take(value, &transaction{})
	case o.tooMany:
	case kind == factCreation:
		o.created = append(o.created, creation{})
		_, err = take(value, &o.created[len(o.created)-1])
	case kind == factResult:
		o.results = append(o.results, result{})
		_, err = take(value, &o.results[len(o.results)-1])
	case kind == factLetters:
		o.letters = append(o.letters, letters{})
		_, err = take(value, &o.letters[len(o.letters)-1])
	case kind == factPurge:
		o.purges = append(o.purges, purge{})
		_, err = take(value, &o.purges[len(o.purges)-1])
	case kind == factPending:
		var p *pending
		p, err = take(value, &pending{})
		o.pendingResults = append(o.pendingResults, p.event)
	case kind == factPendingLetter:
		var p *pendingLetter
		p, err = take(value, &pendingLetter{})
		if o.pendingLetters == nil {
			o.pendingLetters = map[record.Place]bool{}
		}
		o.pendingLetters[p.origin] = true
	default:
		err = errTemporary
	}
	return err
}

// settle brings the facts into an order that does not depend on which partition
// was read first, and drops what does not wait any more.
func (o *order) settle() {
	slices.SortStableFunc(o.created, func(a, b creation) int { return cmp.Or(cmp.Compare(a.seen, b.seen), comparePlaces(a.at, b.at)) })
	slices.SortStableFunc(o.results, func(a, b result) int { return cmp.Or(cmp.Compare(a.seen, b.seen), comparePlaces(a.at, b.at)) })
	slices.SortStableFunc(o.letters, func(a, b letters) int { return comparePlaces(a.at, b.at) })
	// What waits in the outbox may have been published already, marked with the
	// next batch: what is in the log does not wait.
	o.pendingResults = slices.DeleteFunc(o.pendingResults, func(event string) bool {
		return slices.ContainsFunc(o.results, func(f result) bool { return f.event == event })
	})
	if len(o.letters) > 0 {
		o.byOrigin = make(map[record.Place]*letters, len(o.letters))
		for i := range o.letters {
			o.byOrigin[o.letters[i].origin] = &o.letters[i]
		}
	}
}

func comparePlaces(a, b record.Place) int {
	return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Offset, b.Offset))
}

// letterOf returns paiement's dead letter for a record, or nil.
func (o *order) letterOf(at record.Place) *letters { return o.byOrigin[at] }

// event is one order as it was created: all records with its event id.
type event struct {
	creation  // the first
	places    []record.Place
	different *creation // the first that says something else under the same id
}

// eventsOf groups an order's records by event, first come first.
func eventsOf(created []creation) []event {
	var events []event
	for i, c := range created {
		n := slices.IndexFunc(events, func(e event) bool { return e.event == c.event })
		if n < 0 {
			n = len(events)
			events = append(events, event{creation: c})
		}
		e := &events[n]
		e.places = append(e.places, c.at)
		if e.different == nil && (c.amount != e.amount || c.user != e.user || c.items != e.items || c.created != e.created) {
			e.different = &created[i]
		}
	}
	return events
}

// account judges one order, by the log and by the services' state: it is put
// into exactly one of the report's sums, and what is not as it should be is
// noted.
func (r *reconciliation) account(o *order) {
	if o.tooMany {
		r.note(TooManyRecords, o.id, "it has more than %d records, and is not judged", maxFacts)
		r.countUnjudged(o)
		return
	}
	o.settle()
	r.outbox += int64(min(len(o.pendingResults), 1))
	if !r.inScope(o) {
		r.countUnjudged(o)
		return
	}
	events := eventsOf(o.created)
	for _, e := range events {
		r.accountFor(o, e)
	}
	if len(events) > 1 {
		r.note(CreatedTwice, o.id, "its id was given to the events %s (%s) and %s (%s)",
			events[0].event, events[0].at, events[1].event, events[1].at)
	}
	r.checkResults(o, events)
	r.checkRow(o, events)
	for _, l := range o.letters {
		r.checkOriginOf(o.id, o, l)
	}
	r.checkSuivi(o)
	r.checkAnalyseur(o)
}

// inScope says whether the order was created late enough to be judged. What
// says nothing of its creation is judged: it is known to be of an older order,
// or to be wrong.
func (r *reconciliation) inScope(o *order) bool {
	return len(o.created) == 0 || slices.ContainsFunc(o.created, func(c creation) bool { return c.created >= r.since })
}

// accountFor puts one created order into exactly one of the report's sums.
func (r *reconciliation) accountFor(o *order, e event) {
	r.report.Created = r.report.Created.Plus(e.amount)
	r.report.Republished.Orders += int64(len(e.places) - 1)
	switch d := e.different; {
	case d == nil:
	case d.amount != e.amount:
		r.note(CreatedTwice, o.id, "its event %s is %s at %s and %s at %s", e.event, e.amount, e.at, d.amount, d.at)
	default:
		r.note(CreatedTwice, o.id, "its event %s has another user, items or time at %s than at %s", e.event, d.at, e.at)
	}
	sum := r.sumOf(o, e)
	if sum == nil {
		sum = &r.report.Unaccounted
	}
	*sum = sum.Plus(e.amount)
}

// sumOf returns the sum that an order belongs to, or nil where there is none:
// then it has noted the difference.
func (r *reconciliation) sumOf(o *order, e event) *Sum {
	if found, ok := o.resultOf(e); ok {
		r.checkDecision(o, e, found)
		return r.decidedSum(found.status)
	}
	switch {
	case r.state.Paiement == nil:
		return r.sumByLogAlone(o, e)
	case len(o.pendingResults) > 0:
		return &r.report.InFlight
	case o.row != nil && o.row.status == banking.StatusPurged && o.row.event == e.event:
		return r.sumOfPurged(o, e)
	case o.row != nil && o.row.event == e.event:
		if r.lacksResultOf(o) {
			return r.decidedSum(o.row.status)
		}
		r.leaveOut(LedgerWithoutResult, o, e, "the ledger has it %s by %s, which is neither in the log nor in the outbox",
			o.row.status, o.row.result)
		return nil
	case o.purgeOf(e.event) != nil:
		return r.sumOfPurge(o, e)
	case r.onTheWay(o, e):
		return &r.report.InFlight
	}
	return r.sumOfDeadLetters(o, e)
}

// purgeOf returns the purge of an event, or nil.
func (o *order) purgeOf(event string) *purge {
	i := slices.IndexFunc(o.purges, func(p purge) bool { return p.event == event })
	if i < 0 {
		return nil
	}
	return &o.purges[i]
}

// checkDecision compares a decision with the order that it was made on. A
// record that became a dead letter was not decided; where the log is cut, the
// record that was may be gone.
func (r *reconciliation) checkDecision(o *order, e event, found result) {
	if found.amount != e.amount {
		r.noteAmount(CentsOf(found.amount).apart(CentsOf(e.amount)), AmountDiffers, o.id, "ordered for %s at %s, decided for %s at %s", e.amount, e.at, found.amount, found.at)
	}
	if found.user != e.user {
		r.note(UserDiffers, o.id, "ordered at %s by another user than it is decided for at %s", e.at, found.at)
	}
	if found.cause != e.event && !r.log.extents.mayLack(found.processed, banking.TopicOrdersCreated) {
		r.note(CauseDiffers, o.id, "created by %s at %s, decided at %s for the event %q", e.event, e.at, found.at, found.cause)
	}
	undecided := func(at record.Place) bool { return o.letterOf(at) == nil }
	if !slices.ContainsFunc(e.places, undecided) && !r.log.extents.mayLack(e.created, banking.TopicOrdersCreated) {
		r.note(DecidedAndDeadLettered, o.id, "%s at %s, and each of its records is a dead letter, %s at %s", found.status, found.at,
			e.at, o.letterOf(e.at).at)
	}
}

// resultOf returns the result that decides the order's event. Where the order
// was created once, a result that names another event can only be for it.
func (o *order) resultOf(e event) (result, bool) {
	if len(o.results) == 0 {
		return result{}, false
	}
	if i := slices.IndexFunc(o.results, func(f result) bool { return f.cause == e.event }); i >= 0 {
		return o.results[i], true
	}
	byID := banking.ResultEventID(e.event)
	if i := slices.IndexFunc(o.results, func(f result) bool { return f.event == byID }); i >= 0 {
		return o.results[i], true
	}
	if len(o.created) == len(e.places) {
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

// sumOfPurge returns the sum of an order that the log has as purged, and the
// ledger not: it binds before paiement has read it.
func (r *reconciliation) sumOfPurge(o *order, e event) *Sum {
	p := o.purgeOf(e.event)
	if o.row == nil && r.state.Paiement.Positions.read(p.at) && !r.forgets(later(e.created, e.seen)) {
		r.leaveOut(PurgeWithoutLedger, o, e, "paiement has read at %s that it is purged, and the ledger has no row of it", p.at)
		return nil
	}
	return &r.report.Purged
}

// sumOfPurged returns the sum of an order that the ledger has as purged.
func (r *reconciliation) sumOfPurged(o *order, e event) *Sum {
	if r.purgeInLog(o, e.created) {
		return &r.report.Purged
	}
	r.leaveOut(LedgerWithoutPurge, o, e, "the ledger has it purged, and %s has no purge of it", banking.TopicOrdersDLQ)
	return nil
}

// purgeInLog says whether the log has the purge that the ledger has, or may
// have had it: an order is purged after it was created. The ledger has the time
// at which it learnt of the purge.
func (r *reconciliation) purgeInLog(o *order, created micros) bool {
	return o.purgeOf(o.row.event) != nil || r.log.extents.mayLack(created, banking.TopicOrdersDLQ)
}

// onTheWay says whether paiement has not read the order yet, or has not yet
// published its dead letter.
func (r *reconciliation) onTheWay(o *order, e event) bool {
	return slices.ContainsFunc(e.places, func(at record.Place) bool {
		return o.pendingLetters[at] || !r.state.Paiement.Positions.read(at)
	})
}

// sumOfDeadLetters returns the sum of an order that paiement has read and not
// decided: each of its records is a dead letter.
func (r *reconciliation) sumOfDeadLetters(o *order, e event) *Sum {
	var last resolution
	waiting := false
	for _, at := range e.places {
		l := o.letterOf(at)
		if l == nil {
			if r.forgets(later(e.created, e.seen)) && r.log.extents.cut(banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected) ||
				r.log.extents.hides(banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected, banking.TopicOrdersDLQ) {
				return &r.report.CannotTell
			}
			r.leaveOut(Lost, o, e, "paiement has read %s and there is no decision and no dead letter%s", at, r.lettersCut())
			return nil
		}
		last = l.resolution
		waiting = waiting || last.waits()
	}
	switch {
	case waiting:
		return &r.report.DeadLettered
	case last.purged:
		return &r.report.Purged
	}
	r.leaveOut(Lost, o, e, "its dead letter for %s is marked as replayed and no later record has it", e.places[len(e.places)-1])
	return nil
}

// sumByLogAlone returns the sum of an order where paiement was not looked at.
func (r *reconciliation) sumByLogAlone(o *order, e event) *Sum {
	if o.purgeOf(e.event) != nil {
		return &r.report.Purged
	}
	for _, l := range o.letters {
		switch {
		case l.event != e.event:
		case l.waits():
			return &r.report.DeadLettered
		case l.purged:
			return &r.report.Purged
		}
	}
	undone := func(at record.Place) bool { return !r.state.Committed.read(at) }
	if r.state.Committed != nil && slices.ContainsFunc(e.places, undone) {
		return &r.report.InFlight
	}
	r.leaveOut(Undecided, o, e, "%s has no decision and no dead letter", e.at)
	return nil
}

// checkResults checks what decided an order: once, for an order, and as the
// ledger has it.
func (r *reconciliation) checkResults(o *order, events []event) {
	if len(o.results) == 0 {
		return
	}
	different := distinct(o.results)
	r.report.Republished.Results += int64(len(o.results) - len(different))
	first := different[0]
	if len(different) > 1 {
		r.noteTwice(o.id, first, different[1])
	}
	written := later(first.processed, first.seen)
	known := r.state.Paiement == nil || o.row != nil // as far as the ledger says
	missing := !known && r.state.asNewAs(first.at) && !r.forgets(written)
	switch {
	case len(events) == 0 && !r.log.extents.cut(banking.TopicOrdersCreated),
		len(events) == 0 && !known && !r.log.extents.mayLack(written, banking.TopicOrdersCreated):
		r.noteAmount(CentsOf(first.amount), ResultWithoutOrder, o.id, "%s by %s at %s, and no record of orders.created has it", first.status, first.event, first.at)
	case missing:
		r.note(ResultWithoutLedger, o.id, "%s by %s at %s, and the ledger has no row of it", first.status, first.event, first.at)
	case len(events) == 0:
		r.report.OlderThanLog.Results++
	}
	if o.row != nil {
		r.compareRow(o, different)
	}
}

// noteTwice notes that an order has two decisions.
func (r *reconciliation) noteTwice(id string, a, b result) {
	if a.event == b.event && a.status == b.status && a.amount == b.amount {
		r.noteAmount(CentsOf(b.amount), DecidedTwice, id, "%s by %s at %s, and at %s again with another user, time, code or reason", a.status, a.event, a.at, b.at)
		return
	}
	r.noteAmount(CentsOf(b.amount), DecidedTwice, id, "%s by %s at %s and %s by %s at %s", a.status, a.event, a.at, b.status, b.event, b.at)
}

// distinct leaves one of each decision: what says the same again was merely
// published again.
func distinct(all []result) []result {
	out := all[:1:1]
	for _, f := range all[1:] {
		if !slices.ContainsFunc(out, f.same) {
			out = append(out, f)
		}
	}
	return out
}

// compareRow compares a ledger row with the order's results in the log.
func (r *reconciliation) compareRow(o *order, found []result) {
	if o.row.status == banking.StatusPurged {
		r.note(PurgedAndDecided, o.id, "the ledger has it purged, and the log has it %s by %s at %s", found[0].status, found[0].event, found[0].at)
		return
	}
	row, first := o.row, found[0]
	i := slices.IndexFunc(found, func(f result) bool { return f.event == row.result })
	if i < 0 {
		r.note(LedgerDisagrees, o.id, "the ledger has it %s by %s, the log by %s at %s", row.status, row.result, first.event, first.at)
		return
	}
	switch same := found[i]; {
	case same.status != row.status || same.amount != row.amount:
		r.noteAmount(CentsOf(row.amount).apart(CentsOf(same.amount)), LedgerDisagrees, o.id, "the ledger has it %s for %s, the log %s for %s at %s",
			row.status, row.amount, same.status, same.amount, same.at)
	case same.processed != row.processed:
		r.note(LedgerDisagrees, o.id, "the ledger has it decided at %s, the log at %s (%s)",
			timeText(row.processed), timeText(same.processed), same.at)
	}
}

// checkRow checks that a ledger row is of an event that was there, and that its
// result is in the log.
func (r *reconciliation) checkRow(o *order, events []event) {
	row := o.row
	if row != nil && row.status == banking.StatusPurged && (row.amount != 0 || row.result != "") && !slices.Contains(r.noted, PurgedAndDecided) {
		r.note(LedgerDisagrees, o.id, "the ledger has it purged, for %s by %q: a purge has neither an amount nor a result", row.amount, row.result)
	}
	switch {
	case row == nil:
	case len(events) > 0:
		// That there is a result was checked where the order was accounted for.
		disagrees := slices.Contains(r.noted, LedgerDisagrees)
		if disagrees || slices.ContainsFunc(events, func(e event) bool { return e.event == row.event }) {
			return
		}
		if row.event == "" && r.log.extents.mayLack(row.processed, banking.TopicOrdersCreated) {
			return
		}
		kind := LedgerDisagrees
		if r.log.extents.mayLack(row.processed, banking.TopicOrdersCreated) {
			kind = CreatedTwice // an order that has left the log had the id before
		}
		r.note(kind, o.id, "the ledger has it decided for the event %q, the log has it created by %s at %s",
			row.event, events[0].event, events[0].at)
	case len(o.results) > 0 || len(o.pendingResults) > 0:
	case r.state.Paiement != nil && row.processed < microsOf(r.state.Paiement.DecidesFrom),
		row.status == banking.StatusPurged && r.purgeInLog(o, 0), row.status != banking.StatusPurged && r.lacksResultOf(o):
		r.report.OlderThanLog.Ledger++
	case row.status == banking.StatusPurged:
		r.note(LedgerWithoutPurge, o.id, "the ledger has it purged, and the log has neither the order nor the purge")
	default:
		r.note(LedgerWithoutResult, o.id, "the ledger has it %s by %s, and the log has neither the order nor the result",
			row.status, row.result)
	}
}

// lacksResultOf says whether the result of the order's ledger row may be on the
// part of the log that was not read.
func (r *reconciliation) lacksResultOf(o *order) bool {
	topic := banking.TopicPaymentsRejected
	if o.row.status == banking.StatusAuthorized {
		topic = banking.TopicPaymentsAuthorized
	}
	return r.log.extents.mayLackOwn(o.id, o.row.processed, topic)
}

// hides says whether one of the topics has records that cannot be read yet.
func (x *extents) hides(topics ...string) bool {
	for p, hidden := range x.hidden {
		if hidden && slices.Contains(topics, p.Topic) {
			return true
		}
	}
	return false
}

// asNewAs says whether the state is known to be newer than the record.
func (s State) asNewAs(at record.Place) bool {
	return s.Since == nil || at.Offset < s.Since[at.Partition]
}
