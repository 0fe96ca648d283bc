package otelkafka

import (
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/metric"
)

// maxSightings bounds the ends remembered for one partition.
const maxSightings = 64

// sighting is an end of the log and when it was first seen there.
type sighting struct {
	end int64
	at  time.Time
}

// progress is where one partition's processing stands. Its owner's lock guards it.
type progress struct {
	next       int64       // first offset not processed; negative until OffsetOldest or OffsetNewest is resolved
	inProgress time.Time   // timestamp of the record at next, zero if it has not been fetched
	end        int64       // the log's end as last polled
	known      bool        // end has been polled
	start      int64       // the log's start as last polled while records were left
	first      FirstRecord // what the log holds from next on, as far as it was looked at
	goal       int64       // the first end polled
	seen       []sighting
	marks      *position // whose marks next follows; nil where it is told by Advance
	options    []metric.ObserveOption
	placed     bool // has a place on the page
}

// position is the first offset at which a record that is left can stand: what is before it was processed, was
// deleted, or is no record.
func (p *progress) position() int64 { return max(p.next, p.start, p.first.Offset) }

// open reports whether offsets are left between the position and the log's end.
func (p *progress) open() bool { return p.known && p.next >= 0 && p.position() < p.end }

// unseen reports whether offsets are left of which none is known to hold a record.
func (p *progress) unseen() bool {
	return p.open() && p.inProgress.IsZero() && !p.atFirst()
}

// atFirst reports whether the position is that of a record that was looked at.
func (p *progress) atFirst() bool { return p.first.Found && p.first.Offset == p.position() }

// follow takes over how far the marks have come.
func (p *progress) follow() {
	if p.marks == nil {
		return
	}
	if next, recordTime, moved := p.marks.now(); moved {
		p.advance(next, recordTime)
	}
}

func (p *progress) advance(next int64, recordTime time.Time) {
	if next < p.next { // what was seen of the log begins further on
		p.first = FirstRecord{}
	}
	p.next, p.inProgress = next, recordTime
	p.forget()
}

// setEnd takes a polled end. An end below the last one means that the log was cut or created again; it is believed.
func (p *progress) setEnd(end int64, at time.Time) {
	if p.next == sarama.OffsetNewest {
		p.next = end
	}
	if !p.known {
		p.known, p.goal = true, end
	}
	if end < p.end {
		p.seen, p.start, p.first = p.seen[:0], 0, FirstRecord{}
		p.goal = min(p.goal, end)
	}
	p.end = end
	if !p.open() || (len(p.seen) > 0 && p.seen[len(p.seen)-1].end >= end) {
		return
	}
	if len(p.seen) == maxSightings {
		p.thin()
	}
	p.seen = append(p.seen, sighting{end, at})
}

// setStart takes a polled start.
func (p *progress) setStart(start int64) {
	if p.next == sarama.OffsetOldest {
		p.next = start
	}
	p.start = start
	p.forget()
}

// setFirst takes what the log holds from an offset on. It says nothing about a consumer that has gone back since.
func (p *progress) setFirst(from int64, first FirstRecord) {
	if p.next < 0 || p.position() < from {
		return
	}
	p.first = first
	p.forget()
}

// forget drops the ends that the position has reached.
func (p *progress) forget() {
	passed := 0
	for passed < len(p.seen) && p.seen[passed].end <= p.position() {
		passed++
	}
	if passed > 0 {
		p.seen = append(p.seen[:0], p.seen[passed:]...)
	}
}

// thin forgets every other end but the oldest. The offsets that a forgotten one covered then count as seen with
// the next later one, so that ages lose resolution and never grow.
func (p *progress) thin() {
	kept := p.seen[:1]
	for i := 2; i < len(p.seen); i += 2 {
		kept = append(kept, p.seen[i])
	}
	p.seen = kept
}

// records returns the number of records left, and whether it is known. A record in progress is left, whatever the
// last poll said.
func (p *progress) records() (int64, bool) {
	if p.next < 0 || (!p.known && p.inProgress.IsZero()) {
		return 0, false
	}
	left := max(0, p.end-p.position())
	if !p.inProgress.IsZero() {
		left = max(1, left)
	}
	return left, true
}

// age returns the age of the oldest record left, 0 for none, and whether it is known.
func (p *progress) age(now time.Time) (time.Duration, bool) {
	left, known := p.records()
	switch {
	case !known:
		return 0, false
	case left == 0:
		return 0, true
	}
	var age time.Duration
	switch {
	case dated(p.inProgress):
		age = now.Sub(p.inProgress)
	case p.atFirst() && dated(p.first.Timestamp):
		age = now.Sub(p.first.Timestamp)
	}
	if len(p.seen) > 0 { // what a timestamp of the future would hide
		age = max(age, now.Sub(p.seen[0].at))
	}
	return max(0, age), true
}

// dated reports whether a record's timestamp says anything: Kafka's "none" is -1 ms, and unset ones are 0.
func dated(timestamp time.Time) bool { return timestamp.Unix() > 0 }

// caughtUp: a record in progress is not processed, though the log may have lost it meanwhile.
func (p *progress) caughtUp() bool {
	return p.known && p.next >= 0 && (p.next >= p.goal || (p.inProgress.IsZero() && p.position() >= p.goal))
}
