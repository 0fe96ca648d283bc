package audit

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/extsort"
	"github.com/vigie-dev/vigie/internal/record"
)

// reconciliation compares the log and the state once: each order by itself, as
// [reconciliation.account] does, and what is added up of all.
type reconciliation struct {
	log   *log
	rows  *Rows
	state State
	// since is the creation of the first order that is judged.
	since micros
	// hidden says what of the log could not be read, and why; nil for nothing.
	hidden error
	// before that time the services may have removed what was decided.
	forgotten micros

	outbox  int64          // messages that wait to be published
	totals  map[string]Sum // that analyseur should have, by status
	minutes map[int64]Sum  // that it should have, as far as they have not been kept
	noted   []Kind         // differences of the order that is judged

	report      Report
	differences *extsort.Sorter
	err         error // why something could not be kept
}

// reconcile compares the log and the state. The log has to reach at least to
// where it ended when the state was read: then what the state holds is in the
// log. What the log holds beyond [State.Since] may be newer than the state and
// is not missed there.
//
// The report has everything but the differences, which are kept for themselves.
func (r *reconciliation) reconcile(ctx context.Context) error {
	r.totals, r.minutes = map[string]Sum{}, map[int64]Sum{}
	r.report = Report{Cut: r.log.extents.cuts(), OtherDeadLetters: []OtherDeadLetter{}, CannotTellWhy: []string{}}
	r.report.Unreadable.Elsewhere = r.log.elsewhere.Load()
	if err := r.judgeLetters(ctx); err != nil {
		return err
	}
	if err := r.judgeOrders(ctx); err != nil {
		return err
	}
	r.checkCounts()
	r.checkTotals()
	if err := r.judgeMinutes(ctx); err != nil {
		return err
	}
	r.reportServices()
	r.reportLimits()
	return r.err
}

// judgeOrders accounts for every order.
func (r *reconciliation) judgeOrders(ctx context.Context) error {
	var o order
	return groups(ctx, o.add, func(key []byte) error {
		o.id, r.noted = orderOf(key), r.noted[:0]
		r.account(&o)
		o = order{created: o.created[:0], results: o.results[:0], letters: o.letters[:0], purges: o.purges[:0]}
		return r.err
	}, r.log.orders, r.rows.orders)
}

// judgeMinutes compares analyseur's minutes with what it should have counted of
// each.
func (r *reconciliation) judgeMinutes(ctx context.Context) error {
	if r.state.Analyseur == nil {
		return nil
	}
	r.keepMinutes()
	var got, want Sum
	return groups(ctx, func(value []byte) error {
		m, err := take(value, &minute{})
		if m.stored {
			got = got.And(m.Sum)
		} else {
			want = want.And(m.Sum)
		}
		return err
	}, func(key []byte) error {
		defer func() { got, want = Sum{}, Sum{} }()
		// Of the minute in which forgetting ended, a part may be gone.
		if n := minuteOf(key); got != want && (r.forgotten == 0 || n > r.forgotten.minute()) {
			at := time.Unix(n*60, 0).UTC().Format(time.RFC3339)
			r.noteOf(at, MinutesWrong, "", "analyseur has %d payments of %s in the minute of %s, it has read %d of %s",
				got.Count, got.Amount, at, want.Count, want.Amount)
		}
		return r.err
	}, r.rows.minutes)
}

func minuteKey(n int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(n)^1<<63) //nolint:gosec // bits; the sign's turned, negative numbers come first
}

func minuteOf(key []byte) int64 {
	return int64(binary.BigEndian.Uint64(key) ^ 1<<63) //nolint:gosec // bits
}

// checkCounts checks how many orders of each status suivi says that there are.
func (r *reconciliation) checkCounts() {
	if r.state.Suivi == nil {
		return
	}
	for _, status := range statuses() {
		if got, want := r.state.Suivi.Counts[status], r.rows.views[status]; got != want {
			r.noteOf(string(status), CountWrong, "", "suivi says that there are %d orders %s, and it should be %d", got, status, want)
		}
	}
}

// checkTotals compares analyseur's totals with the sums. Where the log is cut
// they may hold more: transactions that have left the log and the state.
func (r *reconciliation) checkTotals() {
	if r.state.Analyseur == nil {
		return
	}
	cut := r.log.extents.cut(topicsOf(analyseur)...) && r.forgotten > 0
	for _, status := range []string{banking.StatusAuthorized, banking.StatusRejected} {
		got, want := r.state.Analyseur.Totals[status], r.totals[status]
		more := got.less(want)
		if more == (Sum{}) || cut && more.Count > 0 && !more.Amount.isNegative() {
			continue
		}
		r.keep(Difference{
			Kind: TotalsWrong, subject: status, Amount: got.Amount.apart(want.Amount),
			Detail: fmt.Sprintf("analyseur has %d payments %s of %s in all, it has read %d of %s",
				got.Count, status, got.Amount, want.Count, want.Amount),
		})
	}
}

// note notes a difference of the order that is judged.
func (r *reconciliation) note(kind Kind, orderID, format string, args ...any) {
	r.noted = append(r.noted, kind)
	r.noteOf("", kind, orderID, format, args...)
}

// noteAmount is [reconciliation.note] of a difference that is about so much.
func (r *reconciliation) noteAmount(amount Cents, kind Kind, orderID, format string, args ...any) {
	r.noted = append(r.noted, kind)
	r.keep(Difference{Kind: kind, OrderID: orderID, Detail: fmt.Sprintf(format, args...), Amount: amount})
}

// noteOf notes a difference of something that the subject tells from other
// differences of the kind.
func (r *reconciliation) noteOf(subject string, kind Kind, orderID, format string, args ...any) {
	r.keep(Difference{Kind: kind, OrderID: orderID, Detail: fmt.Sprintf(format, args...), subject: subject})
}

// leaveOut notes a difference that takes an order out of the account.
func (r *reconciliation) leaveOut(kind Kind, o *order, e event, format string, args ...any) {
	r.noted = append(r.noted, kind)
	r.keep(Difference{
		Kind: kind, OrderID: o.id, Detail: fmt.Sprintf(format, args...), subject: e.event,
		Amount: CentsOf(e.amount), missing: Sum{1, CentsOf(e.amount)},
	})
}

func (k Kind) rank() int {
	for i, each := range kinds() {
		if each.Kind == k {
			return i
		}
	}
	return len(kinds())
}

func (r *reconciliation) keep(d Difference) {
	key := append(orderKey(d.OrderID), byte(d.Kind.rank())) //nolint:gosec // there are not as many kinds
	key = append(key, d.subject...)
	// What others sent is shown to people: nothing of it may move a cursor or
	// turn the text.
	d.OrderID, d.Detail = plain(d.OrderID), plain(d.Detail)
	r.failed(put(r.differences, key, &d))
}

// failed keeps the first error.
func (r *reconciliation) failed(err error) {
	if r.err == nil {
		r.err = err
	}
}

// plain writes what cannot be seen as an escape.
func plain(text string) string {
	if !strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) || c == unicode.ReplacementChar }) {
		return text
	}
	quoted := strconv.QuoteToGraphic(text)
	return quoted[1 : len(quoted)-1]
}

// timeText writes a time for people.
func timeText(m micros) string {
	if m == 0 {
		return "no time"
	}
	return m.time().Format(time.RFC3339Nano)
}

// forgets says whether a service may have removed what was decided then.
func (r *reconciliation) forgets(decided micros) bool { return decided < r.forgotten }

// Names of the services whose state is looked at.
const (
	paiement  = "paiement"
	suivi     = "suivi"
	analyseur = "analyseur"
)

// topicsOf returns what a service reads.
func topicsOf(service string) []string {
	return banking.ReadBy(map[string]string{
		paiement: banking.GroupPaiement, suivi: banking.GroupSuivi, analyseur: banking.GroupAnalyseur,
	}[service])
}

// reportServices reports how far each service is, and checks that it is within
// the log.
func (r *reconciliation) reportServices() {
	for _, e := range r.log.extents.all {
		r.report.Records += e.end - e.start
	}
	for _, name := range []string{paiement, suivi, analyseur} {
		s := Service{Name: name, Problem: r.state.NotLookedAt[name]}
		positions, lookedAt := r.positions(name)
		if s.LookedAt = lookedAt; lookedAt {
			s.Unread = r.unreadBy(name, positions)
		}
		if name == paiement && lookedAt {
			s.Outbox = r.outbox
		}
		r.report.Services = append(r.report.Services, s)
	}
}

func (r *reconciliation) positions(service string) (Positions, bool) {
	switch {
	case service == paiement && r.state.Paiement != nil:
		return r.state.Paiement.Positions, true
	case service == suivi && r.state.Suivi != nil:
		return r.state.Suivi.Positions, true
	case service == analyseur && r.state.Analyseur != nil:
		return r.state.Analyseur.Positions, true
	}
	return nil, false
}

// unreadBy counts the records that a service has yet to process.
func (r *reconciliation) unreadBy(service string, positions Positions) (n int64) {
	for p, e := range r.log.extents.all {
		if !slices.Contains(topicsOf(service), p.Topic) {
			continue
		}
		next, begun := positions[p]
		switch {
		case !begun:
			next = e.first
		case next < e.first:
			r.noteOutside(service, p, "%s has read %s up to offset %d, and the log begins at %d: the records between were deleted unread",
				service, p, next, e.first)
			continue
		case next > e.end:
			r.noteOutside(service, p, "%s has read %s up to offset %d, and the log ends at %d", service, p, next, e.end)
			continue
		}
		// The last offsets may have no records, such as those of transactions'
		// markers.
		n += max(e.next-next, 0)
	}
	return n
}

func (r *reconciliation) noteOutside(service string, p record.Partition, format string, args ...any) {
	r.noteOf(service+" "+p.String(), OutsideLog, "", format, args...)
}

// reportLimits says from where the audit can tell, and where it cannot.
func (r *reconciliation) reportLimits() {
	tells := r.log.extents.tellsFrom()
	if tells != 0 {
		from := tells.time()
		r.report.TellsFrom = &from
	}
	if r.since != 0 {
		since := r.since.time()
		r.report.Since = &since
	}
	why := func(format string, args ...any) {
		r.report.CannotTellWhy = append(r.report.CannotTellWhy, fmt.Sprintf(format, args...))
	}
	if r.hidden != nil {
		why("%v", r.hidden)
	}
	for _, s := range r.report.Services {
		if !s.LookedAt && !r.state.LogAlone {
			why("%s was not looked at: %s", s.Name, s.Problem)
		}
	}
	if p := r.state.Paiement; p != nil && microsOf(p.DecidesFrom) > max(r.log.extents.now, r.log.extents.newest)+micros(skew.Microseconds()) {
		why("paiement's ledger says that the topics may lack what became of orders up to %s, which is still to come: its rows without a record prove nothing",
			timeText(microsOf(p.DecidesFrom)))
	}
	switch n := r.report.CannotTell.Count; {
	case n > 0 && r.hidden != nil:
		why("%d orders may have decisions that cannot be read yet, or that have left both the log and the ledger", n)
	case n > 0:
		why("%d orders are so old that their decisions may have left both the log and the ledger", n)
	}
	if r.since != 0 && r.since < tells {
		why("orders were asked for from %s on, and retention has cut the log: it tells from %s on", timeText(r.since), timeText(tells))
	}
}
