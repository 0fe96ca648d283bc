package audit

import (
	"sync"

	"github.com/vigie-dev/vigie/internal/banking"
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

// letterKey tells dead letters apart: one that a crash had published again has
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
