package audit

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
)

// letters are the copies of one dead letter, and what became of it: a crash may
// have had it published again, and a marker names one of the copies.
type letters struct {
	at     record.Place // of the first copy
	origin record.Place
	reason string
	readable
	failed micros
	resolution
	shown   bool // suivi has read one of the copies
	excused bool // its record was not to be read, or is no order
}

// resolution is what became of a dead letter.
type resolution struct{ replayed, purged bool }

func (r resolution) or(s resolution) resolution {
	return resolution{r.replayed || s.replayed, r.purged || s.purged}
}

// waits says that nothing has become of a letter.
func (r resolution) waits() bool { return !r.replayed && !r.purged }

func (*letters) kind() byte { return factLetters }

func (f *letters) fields(c *codec) {
	c.place(&f.at)
	c.place(&f.origin)
	c.text(&f.reason)
	f.readable.fields(c)
	number(c, &f.failed)
	for _, b := range []*bool{&f.replayed, &f.purged, &f.shown, &f.excused} {
		c.flag(b)
	}
}

// resolved is a copy of a dead letter with what its markers say.
type resolved struct {
	letter
	resolution
}

func (f *resolved) fields(c *codec) {
	f.letter.fields(c)
	for _, b := range []*bool{&f.replayed, &f.purged} {
		c.flag(b)
	}
}

// judgeLetters joins dead letters with their markers, and then with the records
// that they come from. What it finds of an order stands among the order's facts
// afterwards.
func (r *reconciliation) judgeLetters(ctx context.Context) error {
	if err := r.joinMarkers(ctx); err != nil {
		return err
	}
	others := map[OtherDeadLetter]resolutions{}
	var o origin
	err := groups(ctx, func(value []byte) error { return o.add(value, r.state.Suivi) }, func([]byte) error {
		defer func() { o = origin{} }()
		return r.judgeOrigin(&o, others)
	}, r.log.origins, r.rows.origins)
	if err != nil {
		return err
	}
	for _, kind := range slices.SortedFunc(maps.Keys(others), compareKinds) {
		n := others[kind]
		kind.Waiting, kind.Replayed, kind.Purged = n.waiting, n.replayed, n.purged
		r.report.OtherDeadLetters = append(r.report.OtherDeadLetters, kind)
	}
	return nil
}

// joinMarkers puts each dead letter, with what its markers say, among what is
// known of the record that it comes from.
func (r *reconciliation) joinMarkers(ctx context.Context) error {
	var copies []resolved
	var became resolution
	fact := func(value []byte) error {
		if value[0] != factMarker {
			l, err := take(value, &letter{})
			copies = append(copies[:0], resolved{letter: *l}) // one record stands in one place
			return err
		}
		m, err := take(value, &marker{})
		purged := m.resolution == record.Purged
		became = became.or(resolution{!purged, purged})
		return err
	}
	return groups(ctx, fact, func([]byte) error {
		defer func() { copies, became = copies[:0], resolution{} }()
		for _, l := range copies {
			l.resolution = became
			if err := put(r.rows.origins, placeKey(l.group, l.origin), &l); err != nil {
				return err
			}
		}
		return nil
	}, r.log.letters)
}

// origin is what is known of a record that a group has set aside, or that
// cannot be read.
type origin struct {
	unreadable *unreadable
	pending    *pendingLetter
	copies     int64
	group      string
	orderID    string
	letters
}

func (o *origin) add(value []byte, suivi *Suivi) (err error) {
	switch value[0] {
	case factUnreadable:
		o.unreadable, err = take(value, &unreadable{})
	case factPendingLetter:
		o.pending, err = take(value, &pendingLetter{})
	default:
		var l *resolved
		if l, err = take(value, &resolved{}); err != nil {
			return err
		}
		if o.copies++; o.copies == 1 {
			o.group, o.orderID = l.group, l.orderID
			o.letters = letters{at: l.at, origin: l.origin, reason: l.reason, readable: l.readable, failed: l.failed}
		}
		o.resolution = o.or(l.resolution)
		o.shown = o.shown || suivi != nil && suivi.Positions.read(l.at)
	}
	return err
}

// judgeOrigin judges what concerns no order, and passes on the rest.
func (r *reconciliation) judgeOrigin(o *origin, others map[OtherDeadLetter]resolutions) error {
	// What waits in the outbox may have been published already, marked with the
	// next batch: what is in the log does not wait.
	waits := o.pending != nil && o.copies == 0
	if waits {
		r.outbox++
	}
	if o.unreadable != nil {
		r.checkUnreadable(o.unreadable.at, o.copies > 0, waits)
	}
	switch {
	case waits && o.unreadable == nil && o.pending.orderID != "":
		return put(r.rows.orders, orderKey(o.pending.orderID), o.pending)
	case o.copies == 0:
		return nil
	}
	r.report.Republished.DeadLetters += o.copies - 1
	if o.group != banking.GroupPaiement {
		kind := OtherDeadLetter{
			Group:  oneOf(o.group, banking.GroupSuivi, banking.GroupAnalyseur),
			Topic:  oneOf(o.origin.Topic, banking.TopicOrdersCreated, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected),
			Reason: oneOf(o.reason, delivery.Reasons()...),
		}
		others[kind] = others[kind].plus(o.resolution)
		return nil
	}
	if !r.log.extents.has(o.origin) {
		r.report.OlderThanLog.DeadLetters++
		o.excused = true
	}
	switch {
	case o.unreadable != nil && !o.order:
		return nil
	case o.orderID == "":
		r.checkOriginOf("", &order{}, o.letters)
		return nil
	}
	o.excused = o.excused || o.unreadable != nil
	return put(r.rows.orders, orderKey(o.orderID), &o.letters)
}

// checkUnreadable checks a record of orders.created that is no order: it has to
// end among the dead letters too.
func (r *reconciliation) checkUnreadable(at record.Place, deadLettered, waits bool) {
	counts := &r.report.Unreadable
	counts.Orders++
	switch {
	case deadLettered:
		counts.OrdersDeadLettered++
	case r.state.Paiement == nil:
	case waits || !r.state.Paiement.Positions.read(at):
		counts.OrdersInFlight++
	default:
		r.noteOf(at.String(), Lost, "", "paiement has read %s, which holds no order that can be read, and there is no dead letter%s",
			at, r.lettersCut())
	}
}

// checkOriginOf checks that a dead letter comes from a record of its order.
func (r *reconciliation) checkOriginOf(id string, o *order, l letters) {
	if !l.excused && !slices.ContainsFunc(o.created, func(c creation) bool { return c.at == l.origin }) {
		r.noteOf(l.origin.String(), DeadLetterWithoutOrder, id, "%s says that it comes from %s, which is no such record", l.at, l.origin)
	}
}

// lettersCut says so where dead letters have been deleted. They outlive their
// orders by the topics' retention, so that this excuses nothing by itself.
func (r *reconciliation) lettersCut() string {
	if r.log.extents.cut(banking.TopicOrdersDLQ) {
		return " (dead letters have been deleted from " + banking.TopicOrdersDLQ + ")"
	}
	return ""
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

// has says whether the record of that place was to be read.
func (x *extents) has(at record.Place) bool {
	e := x.all[at.Partition]
	return e == nil || at.Offset >= e.start
}
