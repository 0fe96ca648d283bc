package audit

import (
	"hash/fnv"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// Log is what has been read of the topics, by order. Records may be added from
// several goroutines; reading it waits until all have been.
type Log struct {
	mu      sync.Mutex
	extents map[record.Partition]*Extent
	orders  map[string]*order
	letters map[letterKey]*letters
	// marked says what the markers say became of a dead letter, by its place.
	marked     map[record.Place]resolution
	unreadable []unreadable
}

// order is all that the log says about one order.
type order struct {
	created []creation
	results []result
	letters []*letters // of paiement
}

// letterKey distinguishes dead letters: one that a crash had published again has
// the same.
type letterKey struct {
	group  string
	origin record.Place
}

// letters are the copies of one dead letter.
type letters struct {
	letter
	at []record.Place
}

// resolution is what became of a dead letter.
type resolution struct{ replayed, purged bool }

// NewLog returns a log of which nothing has been read.
func NewLog() *Log {
	return &Log{
		extents: map[record.Partition]*Extent{}, orders: map[string]*order{},
		letters: map[letterKey]*letters{}, marked: map[record.Place]resolution{},
	}
}

// Add takes one record, in order within its partition. It keeps what the
// record says and not the record.
func (l *Log) Add(r record.Record) {
	id, fact := decode(r)
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.extents[r.Partition]; e != nil && e.Start > 0 && e.From.IsZero() {
		e.From = r.Time
	}
	switch f := fact.(type) {
	case creation:
		o := l.order(id)
		o.created = append(o.created, f)
	case result:
		o := l.order(id)
		o.results = append(o.results, f)
	case letter:
		l.addLetter(id, f)
	case record.Marker:
		m := l.marked[f.Letter]
		m.replayed, m.purged = m.replayed || f.Resolution == record.Replayed, m.purged || f.Resolution == record.Purged
		l.marked[f.Letter] = m
	case unreadable:
		l.unreadable = append(l.unreadable, f)
	}
}

func (l *Log) order(id string) *order {
	o, ok := l.orders[id]
	if !ok {
		o = &order{}
		l.orders[id] = o
	}
	return o
}

func (l *Log) addLetter(id string, f letter) {
	key := letterKey{f.group, f.origin}
	known, ok := l.letters[key]
	if !ok {
		known = &letters{letter: f}
		l.letters[key] = known
		if id != "" && f.group == banking.GroupPaiement {
			o := l.order(id)
			o.letters = append(o.letters, known)
		}
	}
	known.at = append(known.at, f.at)
}

// resolution returns what became of a dead letter, whichever of its copies the
// marker names.
func (l *Log) resolution(of *letters) (r resolution) {
	for _, at := range of.at {
		m := l.marked[at]
		r.replayed, r.purged = r.replayed || m.replayed, r.purged || m.purged
	}
	return r
}

// creation is a record that says an order was created.
type creation struct {
	at     record.Place
	event  string
	user   uint64
	amount banking.Money
	time   time.Time // the record's
}

// result is a record that says an order was decided.
type result struct {
	at     record.Place
	event  string
	cause  string // the order's event, "" if the record does not say
	user   uint64
	status string
	amount banking.Money
	time   time.Time // of the decision
}

// shown is the status that the decision gives to its order.
func (f result) shown() banking.OrderStatus {
	if f.status == banking.StatusAuthorized {
		return banking.OrderStatusAuthorized
	}
	return banking.OrderStatusRejected
}

// letter is a dead letter: a record that a group set aside.
type letter struct {
	at      record.Place // of the letter itself
	origin  record.Place // of the record that was set aside
	group   string
	reason  string
	orderID string // "" if the letter holds no order that can be read
	event   string
	amount  banking.Money
}

// unreadable is a record that is not what its topic promises.
type unreadable struct{ at record.Place }

// decode reads one record of the log: a fact about the order of that id. What
// cannot be read is a fact too.
func decode(r record.Record) (orderID string, fact any) {
	if r.Topic == banking.TopicOrdersDLQ || r.Topic == banking.TopicPaymentsDLQ {
		return decodeLetter(r)
	}
	event, err := delivery.Decode(r)
	if err != nil {
		return "", unreadable{r.Place}
	}
	cause := r.Header(record.HeaderOriginalEventID)
	switch e := event.(type) {
	case banking.OrderCreated:
		return e.OrderID, creation{r.Place, e.EventID, userKey(e.UserID), e.Amount, r.Time}
	case banking.PaymentAuthorized:
		return e.OrderID, result{r.Place, e.EventID, cause, userKey(e.UserID), e.Status, e.Amount, e.ProcessedAt}
	case banking.PaymentRejected:
		return e.OrderID, result{r.Place, e.EventID, cause, userKey(e.UserID), e.Status, e.Amount, e.ProcessedAt}
	default:
		return "", unreadable{r.Place}
	}
}

// userKey distinguishes users in less memory than their ids take.
func userKey(id string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, id) // into memory
	return h.Sum64()
}

// decodeLetter reads a record of a dead-letter topic: a dead letter, or a
// marker.
func decodeLetter(r record.Record) (orderID string, fact any) {
	origin, original, err := record.ParseOrigin(r)
	if err != nil {
		m, err := record.ParseMarker(r)
		if err != nil {
			return "", unreadable{r.Place}
		}
		return "", m
	}
	l := letter{at: r.Place, origin: origin.Place, group: origin.Group, reason: origin.Reason}
	if order, err := delivery.DecodeAs[banking.OrderCreated](original); err == nil {
		l.orderID, l.event, l.amount = order.OrderID, order.EventID, order.Amount
	}
	return l.orderID, l
}

// Extent is the part of a partition's log that has been read.
type Extent struct {
	Start int64     // where the log begins; above 0 where retention has cut it
	End   int64     // the first offset that was not asked for
	From  time.Time // of the first record after a cut; zero where there is none
}

// Extend says that the records of these spans are about to be added. A
// partition's spans follow each other.
func (l *Log) Extend(spans []kafka.Span) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range spans {
		if e, ok := l.extents[s.Partition]; ok {
			e.End = s.End
			continue
		}
		l.extents[s.Partition] = &Extent{Start: s.Start, End: s.End}
	}
}

// cut says whether retention has cut one of the topics.
func (l *Log) cut(topics ...string) bool {
	for p, e := range l.extents {
		if e.Start > 0 && slices.Contains(topics, p.Topic) {
			return true
		}
	}
	return false
}

// samePartition returns the partition in which the topic has the records of the
// same key, or -1 where that is unknown.
func (l *Log) samePartition(topic string, at record.Place) int32 {
	n := map[string]int{}
	for p := range l.extents {
		n[p.Topic]++
	}
	if n[topic] != n[at.Topic] {
		return -1
	}
	return at.ID
}

// lostBefore says whether a record of that time may have been on the part of
// the topic's log that retention has cut. The partition narrows it down where
// it is known; -1 stands for any.
func (l *Log) lostBefore(topic string, partition int32, t time.Time) bool {
	for p, e := range l.extents {
		if p.Topic != topic || e.Start == 0 || partition >= 0 && p.ID != partition {
			continue
		}
		// An empty log may have had anything.
		if e.From.IsZero() || !t.After(e.From) {
			return true
		}
	}
	return false
}
