package audit

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// skew is how far the clocks of those who write may be apart.
const skew = 5 * time.Minute

// extents are how much of the log has been read, and when it was written.
// Records may be taken from several goroutines; the rest is asked when all have
// been.
type extents struct {
	mu  sync.Mutex
	all map[record.Partition]*extent
	// hidden are the partitions that have records which cannot be read yet.
	hidden map[record.Partition]bool
	now    micros // when this look began
	// newest is the newest time in the log.
	newest micros
}

// extent is the part of a partition's log that has been read.
type extent struct {
	first  int64  // where the log begins; above 0 where retention has cut it
	start  int64  // where reading began: there, or later, or before what was cut since
	end    int64  // the first offset that was not asked for
	next   int64  // after the last record that was read
	from   micros // when what is left after a cut was written; 0 where that is not known
	latest micros
}

// extend says that the records of these spans are about to be taken, of logs
// that begin at the spans of whole. A partition's spans follow each other.
func (x *extents) extend(spans, whole []kafka.Span, now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.now = microsOf(now)
	for i, s := range spans {
		if e, ok := x.all[s.Partition]; ok {
			e.first, e.end = whole[i].Start, s.End
			continue
		}
		x.all[s.Partition] = &extent{first: whole[i].Start, start: s.Start, end: s.End, next: s.Start}
	}
}

// hide notes what cannot be read yet of what was written.
func (x *extents) hide(written map[record.Partition]int64, readable []kafka.Span) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.hidden = map[record.Partition]bool{}
	for _, s := range readable {
		x.hidden[s.Partition] = s.End < written[s.Partition]
	}
}

// take notes a record, in order within its partition, and returns when it was
// written, as the log says: the latest time so far in its partition that can be
// one. A record's own time is whatever its producer wrote: nothing, 0, -1, or
// some day to come.
func (x *extents) take(r record.Record) micros {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.all[r.Partition]
	if e == nil { // nobody has asked for it
		e = &extent{}
		x.all[r.Partition] = e
	}
	e.next = r.Offset + 1
	if t := microsOf(r.Time); t > 0 && t <= x.now+micros(skew.Microseconds()) {
		e.latest, x.newest = max(e.latest, t), max(x.newest, t)
	}
	if e.from == 0 {
		e.from = e.latest
	}
	return e.latest
}

// cut says whether a part of one of the topics was not read.
func (x *extents) cut(topics ...string) bool {
	for p, e := range x.all {
		if e.start > 0 && slices.Contains(topics, p.Topic) {
			return true
		}
	}
	return false
}

// mayLack says whether a record of that time may stand on the part of one of
// the topics that was not read. It may be in any partition: not everybody who
// writes divides orders among them as we do. Zero stands for an unknown time.
func (x *extents) mayLack(t micros, topics ...string) bool {
	for p, e := range x.all {
		if slices.Contains(topics, p.Topic) && (e.mayLack(t) || x.hidden[p]) {
			return true
		}
	}
	return false
}

// mayLackOwn is [extents.mayLack] for what our own services publish under an
// order's id: it stands in the partition that the id belongs to, by the number
// of partitions that the topic has now or had before some were added.
func (x *extents) mayLackOwn(id string, t micros, topic string) bool {
	var now int32
	for p := range x.all {
		if p.Topic == topic {
			now = max(now, p.ID+1)
		}
	}
	for n := min(banking.Partitions, now); n > 0 && n <= now; n++ {
		number, err := kafka.PartitionOf(id, n)
		p := record.Partition{Topic: topic, ID: number}
		if e := x.all[p]; err != nil || x.hidden[p] || e != nil && e.mayLack(t) {
			return true
		}
	}
	return false
}

// mayLack says whether a record of that time may stand on the part that was not
// read. An empty log may have had anything.
func (e *extent) mayLack(t micros) bool {
	return e.start > 0 && (e.from == 0 || t <= e.from+micros(skew.Microseconds()))
}

// cuts are the partitions that retention has cut.
func (x *extents) cuts() []Cut {
	out := []Cut{}
	for p, e := range x.all {
		if e.first == 0 {
			continue
		}
		c := Cut{Topic: p.Topic, Partition: p.ID, Offset: e.first}
		if e.from != 0 && e.start == e.first {
			from := e.from.time()
			c.From = &from
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Cut) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return out
}

// tellsFrom is the time from which on no order's records have been cut, or 0
// where none have been at all.
func (x *extents) tellsFrom() (from micros) {
	for p, e := range x.all {
		if e.first > 0 && e.start == e.first && p.Topic != banking.TopicPaymentsDLQ {
			from = max(from, e.from)
		}
	}
	return from
}
