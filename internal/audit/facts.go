package audit

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"strings"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
)

// fact is what a record, or a service's row, says; by its kind it is found
// again among those of its order.
type fact interface {
	kind() byte
	fields(c *codec)
}

// Kinds of facts.
const (
	factCreation byte = iota
	factResult
	factLetter
	factLetters
	factMarker
	factPurge
	factUnreadable
	factPending
	factPendingLetter
	factRow
	factView
	factTransaction
	factMinute
	factDifference
)

// creation is a record that says an order was created.
type creation struct {
	at      record.Place
	event   string
	user    uint64 // digests, as everything is that only has to be the same elsewhere
	items   uint64
	amount  banking.Money
	created micros // as the event says
	seen    micros // as the log says, see [extents.take]
}

func (*creation) kind() byte { return factCreation }

func (f *creation) fields(c *codec) {
	c.place(&f.at)
	c.text(&f.event)
	c.digest(&f.user)
	c.digest(&f.items)
	number(c, &f.amount)
	number(c, &f.created)
	number(c, &f.seen)
}

// result is a record that says an order was decided.
type result struct {
	at        record.Place
	event     string
	cause     string // the order's event, "" if the record does not say
	user      uint64
	reason    uint64 // or the authorization code
	status    string
	amount    banking.Money
	processed micros
	seen      micros
}

func (*result) kind() byte { return factResult }

func (f *result) fields(c *codec) {
	c.place(&f.at)
	c.text(&f.event)
	c.text(&f.cause)
	c.digest(&f.user)
	c.digest(&f.reason)
	c.text(&f.status)
	number(c, &f.amount)
	number(c, &f.processed)
	number(c, &f.seen)
}

// shown is the status that the decision gives to its order.
func (f result) shown() banking.OrderStatus {
	if f.status == banking.StatusAuthorized {
		return banking.OrderStatusAuthorized
	}
	return banking.OrderStatusRejected
}

// same says whether the other record says what this one does, so that it is
// the same decision, published again.
func (f result) same(g result) bool {
	g.at, g.cause, g.seen = f.at, f.cause, f.seen
	return f == g
}

// later is the later of the times that the event and the log say: what a
// record says of its own time has to fit to where it stands.
func later(event, log micros) micros { return max(event, log) }

// letter is a dead letter: a record that a group set aside.
type letter struct {
	at      record.Place // of the letter itself
	origin  record.Place // of the record that was set aside
	group   string
	reason  string
	orderID string // the order's, or the key where the letter's value holds none
	readable
	failed micros
}

// readable is what a letter's value says, if it holds an order that can be
// read.
type readable struct {
	order  bool
	event  string
	user   uint64
	amount banking.Money
}

func (r *readable) fields(c *codec) {
	c.flag(&r.order)
	c.text(&r.event)
	c.digest(&r.user)
	number(c, &r.amount)
}

func (*letter) kind() byte { return factLetter }

func (f *letter) fields(c *codec) {
	c.place(&f.at)
	c.place(&f.origin)
	c.text(&f.group)
	c.text(&f.reason)
	c.text(&f.orderID)
	f.readable.fields(c)
	number(c, &f.failed)
}

// marker says what became of a dead letter, and of its order if it ends it.
type marker struct {
	at         record.Place
	letter     record.Place
	resolution string
	orderID    string // of a purge: of what it ends
	event      string
}

func (*marker) kind() byte { return factMarker }

func (f *marker) fields(c *codec) {
	c.place(&f.at)
	c.place(&f.letter)
	c.text(&f.resolution)
	c.text(&f.orderID)
	c.text(&f.event)
}

// purge is a marker that ends an order.
type purge struct {
	at    record.Place
	event string
}

func (*purge) kind() byte { return factPurge }

func (f *purge) fields(c *codec) {
	c.place(&f.at)
	c.text(&f.event)
}

// unreadable is a record that is not what its topic promises.
type unreadable struct{ at record.Place }

func (*unreadable) kind() byte { return factUnreadable }

func (f *unreadable) fields(c *codec) { c.place(&f.at) }

// decoder reads records. Texts that only have to be the same elsewhere become
// digests, with a seed that nobody knows: they need less room, and no personal
// data stands in a file.
type decoder struct{ seed maphash.Seed }

func (d decoder) digest(text string) uint64 {
	if text == "" {
		return 0
	}
	return maphash.String(d.seed, text)
}

// digestOf is the digest of a list, whose order counts.
func (d decoder) digestOf(texts []string) uint64 {
	if len(texts) == 0 {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(d.seed)
	for _, text := range texts {
		var size [8]byte
		binary.LittleEndian.PutUint64(size[:], uint64(len(text)))
		_, _ = h.Write(size[:])
		_, _ = h.WriteString(text)
	}
	return h.Sum64()
}

// decode reads one record of the log: a fact about the order of that id. What
// cannot be read is a fact too; of a probe there is none.
func (d decoder) decode(r record.Record) (orderID string, _ fact) {
	if banking.IsProbe(string(r.Key)) {
		return "", nil
	}
	if r.Topic == banking.TopicOrdersDLQ || r.Topic == banking.TopicPaymentsDLQ {
		return d.decodeLetter(r)
	}
	event, err := delivery.Decode(r)
	if err != nil {
		return "", &unreadable{r.Place}
	}
	out := &result{at: r.Place, event: event.ID(), cause: r.Header(record.HeaderOriginalEventID), processed: microsOf(event.Time())}
	switch e := event.(type) {
	case banking.OrderCreated:
		return e.OrderID, &creation{
			at: r.Place, event: e.EventID, user: d.digest(e.UserID), items: d.digestOf(e.Items), amount: e.Amount,
			created: microsOf(e.CreatedAt),
		}
	case banking.PaymentAuthorized:
		out.user, out.status, out.amount, out.reason = d.digest(e.UserID), e.Status, e.Amount, d.digest(e.AuthorizationCode)
	case banking.PaymentRejected:
		out.user, out.status, out.amount, out.reason = d.digest(e.UserID), e.Status, e.Amount, d.digest(e.RejectionReason)
	}
	return event.Order(), out
}

// decodeLetter reads a record of a dead-letter topic: a dead letter, or a
// marker.
func (d decoder) decodeLetter(r record.Record) (orderID string, _ fact) {
	origin, original, err := record.ParseOrigin(r)
	if err != nil {
		m, err := record.ParseMarker(r)
		if err != nil {
			return "", &unreadable{r.Place}
		}
		out := &marker{at: r.Place, letter: m.Letter, resolution: m.Resolution}
		if m.Resolution == record.Purged && m.EventID != "" && len(r.Key) > 0 && len(r.Key) <= maxKey {
			out.orderID, out.event = string(r.Key), m.EventID
		}
		return out.orderID, out
	}
	l := &letter{at: r.Place, origin: origin.Place, group: origin.Group, reason: origin.Reason, failed: microsOf(origin.FailedAt)}
	if order, err := delivery.DecodeAs[banking.OrderCreated](original); err == nil {
		l.orderID, l.readable = order.OrderID, readable{true, order.EventID, d.digest(order.UserID), order.Amount}
	} else if len(original.Key) <= maxKey {
		// A value that was cut to what its topic takes holds no order, but its
		// key names one.
		l.orderID, l.event = string(original.Key), origin.EventID
	}
	return l.orderID, l
}

// maxKey is the longest key that an order can have: its id has at most
// [banking.MaxIDLength] code points.
const maxKey = 4 * banking.MaxIDLength

// orderKey is an order's id in the form in which the orders are sorted: numbers
// by their value, so that order-10 comes after order-9. Different ids have
// different keys, and no key begins with another.
func orderKey(id string) []byte {
	text := strings.TrimRight(id, "0123456789")
	number := strings.TrimLeft(id[len(text):], "0")
	zeros := len(id) - len(text) - len(number)
	key := make([]byte, 0, len(id)+8)
	for i := range len(text) {
		if key = append(key, text[i]); text[i] == 0 {
			key = append(key, 0xff)
		}
	}
	key = append(key, 0, 1)
	if len(number) < 0xff {
		key = append(key, byte(len(number))) //nolint:gosec // compared above
	} else {
		key = binary.BigEndian.AppendUint32(append(key, 0xff), uint32(len(number))) //nolint:gosec // no id is that long
	}
	key = append(key, number...)
	return binary.BigEndian.AppendUint16(key, uint16(min(zeros, 0xffff))) //nolint:gosec // no id begins with more
}

// orderOf returns the id that the key is of.
func orderOf(key []byte) string {
	end := bytes.Index(key, []byte{0, 1})
	text := bytes.ReplaceAll(key[:end], []byte{0, 0xff}, []byte{0})
	number := key[end+3 : len(key)-2]
	if key[end+2] == 0xff {
		number = number[4:]
	}
	zeros := int(binary.BigEndian.Uint16(key[len(key)-2:]))
	return string(text) + strings.Repeat("0", zeros) + string(number)
}

// placeKey is a place, or what a group has set aside of it, in a form in which
// it can be sorted.
func placeKey(group string, at record.Place) []byte {
	key := append([]byte(group), 0)
	key = append(append(key, at.Topic...), 0)
	key = binary.BigEndian.AppendUint32(key, uint32(at.ID))      //nolint:gosec // bits
	return binary.BigEndian.AppendUint64(key, uint64(at.Offset)) //nolint:gosec // bits
}
