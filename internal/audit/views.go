package audit

import (
	"slices"
	"strings"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
)

// expectation is what suivi shows of an order, as far as it has read: one of
// the creations, one of the results and all failures. There are several of the
// first two only where records contradict each other: of those suivi shows the
// one that it read first, which the log does not say.
type expectation struct {
	created  []creation
	results  []result
	failures []failure
	// What the part of the log may have had that was not read.
	mayCreate, mayDecide, mayFail bool
}

// failure is a dead letter as suivi shows it.
type failure struct {
	letters
	id, why uint64 // digests of its event's id and of its reason
}

// expected works out what suivi shows of an order from the records that its
// positions say it has read.
func (r *reconciliation) expected(o *order) (x expectation) {
	positions := r.state.Suivi.Positions
	for _, c := range o.created {
		if positions.read(c.at) {
			x.created = append(x.created, c)
		}
	}
	for _, f := range o.results {
		if positions.read(f.at) {
			x.results = append(x.results, f)
		}
	}
	for _, l := range o.letters {
		// A second order under an id that is known leaves the first as it was.
		if l.shown && l.order && l.reason != string(delivery.ReasonContradictory) {
			x.failures = append(x.failures, failure{l, r.log.digest(l.origin.String()), r.log.digest(l.reason)})
		}
	}
	// What was published because of an order is younger than the order.
	earliest := micros(0)
	for i, c := range x.created {
		if i == 0 || c.created < earliest {
			earliest = c.created
		}
	}
	x.mayCreate = len(x.created) == 0 && r.log.extents.cut(banking.TopicOrdersCreated)
	x.mayDecide = len(x.results) == 0 && r.log.extents.mayLack(earliest, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected)
	x.mayFail = r.log.extents.mayLack(earliest, banking.TopicOrdersDLQ)
	return x
}

func (x expectation) empty() bool { return len(x.created)+len(x.results)+len(x.failures) == 0 }

// statuses are those that the order may be shown with.
func (x expectation) statuses() (all []banking.OrderStatus) {
	for _, f := range x.results {
		if !slices.Contains(all, f.shown()) {
			all = append(all, f.shown())
		}
	}
	decided := len(all) > 0
	if !decided || !x.fits() {
		switch {
		case len(x.failures) > 0:
			all = append(all, banking.OrderStatusFailed)
		case len(x.created) > 0:
			all = append(all, banking.OrderStatusCreated)
		}
	}
	if x.mayDecide {
		all = append(all, banking.OrderStatusAuthorized, banking.OrderStatusRejected)
	}
	if x.mayFail && !decided {
		all = append(all, banking.OrderStatusFailed)
	}
	return all
}

// fits says whether one of the results names one of the creations that were
// read, as far as there are any: suivi shows no other.
func (x expectation) fits() bool {
	return len(x.created) == 0 || slices.ContainsFunc(x.results, func(f result) bool {
		return slices.ContainsFunc(x.created, func(c creation) bool { return c.event == f.cause })
	})
}

// contradicts says whether the records are of more than one order, or of more
// than one decision.
func (x expectation) contradicts() bool {
	return !x.fits() || slices.ContainsFunc(x.created, func(c creation) bool { return c.event != x.created[0].event }) ||
		slices.ContainsFunc(x.results, func(f result) bool { return !f.same(x.results[0]) })
}

// String names the statuses that it may have.
func (x expectation) String() string {
	var names []string
	for _, s := range x.statuses() {
		if !slices.Contains(names, string(s)) {
			names = append(names, string(s))
		}
	}
	return strings.Join(names, " or ")
}

// times are those of everything that may be in the history.
func (x expectation) times() (all []micros) {
	for _, c := range x.created {
		all = append(all, c.created)
	}
	for _, f := range x.results {
		all = append(all, f.processed)
	}
	for _, l := range x.failures {
		all = append(all, l.failed)
	}
	return all
}

// checkSuivi checks what suivi shows of an order. What is shown wrong is
// counted as it should be shown.
func (r *reconciliation) checkSuivi(o *order) {
	if r.state.Suivi == nil {
		return
	}
	x, v := r.expected(o), o.view
	switch {
	case x.empty() && v == nil:
	case x.empty() && r.log.extents.cut(topicsOf(suivi)...):
		r.report.OlderThanLog.Views++
	case x.empty():
		r.rows.countViews(v.status, -1)
		r.note(ViewWithoutOrder, o.id, "suivi shows it %s and has read no record of it", v.status)
	case v == nil:
		if decided := len(x.results) > 0; decided && r.forgets(slices.Max(x.times())) {
			return
		}
		r.rows.countViews(x.statuses()[0], 1)
		r.note(ViewMissing, o.id, "suivi has read that it is %s and does not show it", x)
	case !slices.Contains(r.noted, CreatedTwice): // else it is perhaps shown as it was before the log begins
		r.compareView(o.id, v, x)
	}
}

// compareView compares a view with what it should be. One difference of it is
// noted; what a person or an item is called is in none.
func (r *reconciliation) compareView(id string, v *view, x expectation) {
	switch {
	case !slices.Contains(x.statuses(), v.status):
		r.rows.countViews(v.status, -1)
		r.rows.countViews(x.statuses()[0], 1)
		r.note(ViewWrong, id, "suivi shows it %s, its records say %s", v.status, x)
	case !x.hasAmount(v.amount):
		r.note(ViewWrong, id, "suivi shows it for %s, its records say otherwise", v.amount)
	case !x.hasUser(v.user):
		r.note(ViewWrong, id, "suivi shows it with another user than its records say")
	case !x.fromCreation(v.items == 0, func(c creation) bool { return c.items == v.items }):
		r.note(ViewWrong, id, "suivi shows it with other items than its records say")
	case !x.fromCreation(v.created == 0, func(c creation) bool { return c.created == v.created }):
		r.note(ViewWrong, id, "suivi shows it created at %s, its records say otherwise", timeText(v.created))
	case !x.hasOutcome(v):
		r.note(ViewWrong, id, "suivi shows it with another authorization code, reason or time of its decision than its records say")
	case !x.hasTimes(v):
		r.note(ViewWrong, id, "suivi lists it at %s and shows it updated at %s, its records say otherwise", timeText(v.listed), timeText(v.updated))
	default:
		r.compareHistory(id, v, x)
	}
}

// fromCreation says whether what a view has of its order's creation is right;
// none says whether it has nothing of it.
func (x expectation) fromCreation(none bool, is func(c creation) bool) bool {
	return x.mayCreate || len(x.created) == 0 && none || slices.ContainsFunc(x.created, is)
}

func (x expectation) hasAmount(amount banking.Money) bool {
	return slices.ContainsFunc(x.created, func(c creation) bool { return c.amount == amount }) ||
		slices.ContainsFunc(x.results, func(f result) bool { return f.amount == amount }) ||
		slices.ContainsFunc(x.failures, func(l failure) bool { return l.amount == amount })
}

func (x expectation) hasUser(user uint64) bool {
	return slices.ContainsFunc(x.created, func(c creation) bool { return c.user == user }) ||
		slices.ContainsFunc(x.results, func(f result) bool { return f.user == user }) ||
		slices.ContainsFunc(x.failures, func(l failure) bool { return l.user == user })
}

// hasOutcome says whether what the view says of its decision, or of its
// failure, is what the records say.
func (x expectation) hasOutcome(v *view) bool {
	switch v.status {
	case banking.OrderStatusAuthorized, banking.OrderStatusRejected:
		code, other := v.code, v.rejection
		if v.status == banking.OrderStatusRejected {
			code, other = other, code
		}
		return other == 0 && v.failure == 0 && (x.mayDecide || slices.ContainsFunc(x.results, func(f result) bool {
			return f.shown() == v.status && f.reason == code && f.processed == v.processed
		}))
	case banking.OrderStatusFailed:
		return v.code == 0 && v.rejection == 0 && v.processed == 0 && (x.mayFail || slices.ContainsFunc(x.failures, func(l failure) bool {
			return l.why == v.failure
		}))
	default:
		return v.code == 0 && v.rejection == 0 && v.failure == 0 && v.processed == 0
	}
}

// hasTimes says whether the order stands in the list where its records say, and
// was last updated by one of them.
func (x expectation) hasTimes(v *view) bool {
	if x.mayCreate || x.mayDecide || x.mayFail {
		return true
	}
	times := x.times()
	listed := slices.Contains(times, v.listed)
	if len(x.created) > 0 {
		listed = slices.ContainsFunc(x.created, func(c creation) bool { return c.created == v.listed })
	}
	updated := v.updated == slices.Max(times)
	return listed && (updated || x.contradicts() && slices.Contains(times, v.updated))
}

// compareHistory compares an order's history with its records.
func (r *reconciliation) compareHistory(id string, v *view, x expectation) {
	known := map[moment]bool{}
	for _, c := range x.created {
		known[moment{r.log.digest(c.event), banking.OrderStatusCreated, c.created}] = true
	}
	for _, f := range x.results {
		known[moment{r.log.digest(f.event), f.shown(), f.processed}] = true
	}
	for _, l := range x.failures {
		known[moment{l.id, banking.OrderStatusFailed, l.failed}] = true
	}
	want := min(len(x.created), 1) + len(x.failures)
	if x.fits() {
		want += min(len(x.results), 1)
	}
	want = min(want, banking.MaxOrderEvents)
	may := map[banking.OrderStatus]bool{
		banking.OrderStatusCreated: x.mayCreate, banking.OrderStatusFailed: x.mayFail,
		banking.OrderStatusAuthorized: x.mayDecide, banking.OrderStatusRejected: x.mayDecide,
	}
	more := 0
	for _, m := range v.history {
		switch {
		case known[m]:
			delete(known, m)
		case may[m.status]:
			more++
		default:
			r.note(ViewWrong, id, "suivi shows it with an event of %s that is not among its records", timeText(m.at))
			return
		}
	}
	if len(v.history)-more < want && len(v.history) < banking.MaxOrderEvents {
		r.note(ViewWrong, id, "suivi shows %d events, its records are %d", len(v.history), want)
	}
}

// checkAnalyseur checks what analyseur has counted of an order: each decided
// order once. What counts is added to what its sums should be.
func (r *reconciliation) checkAnalyseur(o *order) {
	if r.state.Analyseur == nil {
		return
	}
	read := o.readBy(r.state.Analyseur.Positions)
	t := o.transaction
	switch {
	case len(read) > 0:
		r.compareTransaction(o, read)
	case t == nil:
		return
	case r.log.extents.cut(topicsOf(analyseur)...):
		r.report.OlderThanLog.Transactions++
	default:
		r.note(CountedWithoutResult, o.id, "analyseur has counted it %s by %s and has read no result of it", t.status, t.event)
	}
	r.countUnjudged(o)
}

// countUnjudged adds to analyseur's sums what it should have counted of an
// order.
func (r *reconciliation) countUnjudged(o *order) {
	if r.state.Analyseur == nil {
		return
	}
	if read := o.readBy(r.state.Analyseur.Positions); len(read) > 0 {
		f := read[max(slices.IndexFunc(read, o.transaction.counts), 0)]
		r.count(f.status, f.amount, f.processed)
	} else if t := o.transaction; t != nil {
		r.count(t.status, t.amount, t.processed)
	}
}

// readBy returns the order's results that a service has read.
func (o *order) readBy(p Positions) (out []result) {
	for _, f := range o.results {
		if p.read(f.at) {
			out = append(out, f)
		}
	}
	return out
}

// counts says whether the transaction is of the result.
func (t *transaction) counts(f result) bool {
	return t != nil && *t == transaction{f.event, f.user, f.status, f.amount, f.processed}
}

// compareTransaction compares what analyseur counted of an order with the
// results that it has read.
func (r *reconciliation) compareTransaction(o *order, read []result) {
	t, first := o.transaction, read[0]
	switch {
	case slices.ContainsFunc(read, t.counts):
	case t == nil && r.forgets(first.processed):
	case t == nil:
		r.noteAmount(CentsOf(first.amount), NotCounted, o.id, "analyseur has read %s and has not counted it", first.at)
	case t.event == first.event && t.status == first.status && t.amount == first.amount:
		r.note(CountedWrong, o.id, "analyseur has counted it with another user or time than %s says", first.at)
	default:
		r.noteAmount(CentsOf(t.amount).apart(CentsOf(first.amount)), CountedWrong, o.id, "analyseur has counted it %s for %s by %s, the log has it %s for %s by %s",
			t.status, t.amount, t.event, first.status, first.amount, first.event)
	}
}

// maxMinutes is how many minutes are kept in memory before they are sorted.
const maxMinutes = 20_000

// count adds a payment to what analyseur's sums should be.
func (r *reconciliation) count(status string, amount banking.Money, processed micros) {
	r.totals[status] = r.totals[status].Plus(amount)
	n := processed.minute()
	r.minutes[n] = r.minutes[n].Plus(amount)
	if len(r.minutes) >= maxMinutes {
		r.keepMinutes()
	}
}

// keepMinutes puts what was counted of minutes among analyseur's own.
func (r *reconciliation) keepMinutes() {
	for n, s := range r.minutes {
		r.failed(put(r.rows.minutes, minuteKey(n), &minute{Sum: s}))
	}
	clear(r.minutes)
}

// minute is what analyseur has stored of a minute, or a part of what it should
// have.
type minute struct {
	stored bool
	Sum
}

func (*minute) kind() byte { return factMinute }

func (f *minute) fields(c *codec) {
	c.flag(&f.stored)
	f.Sum.fields(c)
}
