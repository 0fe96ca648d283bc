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
	next    int64     // first offset not processed; negative until OffsetOldest or OffsetNewest is resolved
	inHand  time.Time // timestamp of the record at next, zero if it has not been fetched
	end     int64     // the log's end as last polled
	known   bool      // end has been polled
	goal    int64     // the first end polled
	seen    []sighting
	options []metric.ObserveOption
}

func (p *progress) advance(next int64, recordTime time.Time) {
	p.next, p.inHand = next, recordTime
	passed := 0
	for passed < len(p.seen) && p.seen[passed].end <= next {
		passed++
	}
	p.seen = append(p.seen[:0], p.seen[passed:]...)
}

// polled takes a polled end. An end below the last one means that the log was cut or made anew; it is believed.
func (p *progress) polled(end int64, at time.Time) {
	if p.next == sarama.OffsetNewest {
		p.next = end
	}
	if !p.known {
		p.known, p.goal = true, end
	}
	if end < p.end {
		p.seen = p.seen[:0]
		p.goal = min(p.goal, end)
	}
	p.end = end
	if end <= p.next || (len(p.seen) > 0 && p.seen[len(p.seen)-1].end >= end) {
		return
	}
	if len(p.seen) == maxSightings {
		p.thin()
	}
	p.seen = append(p.seen, sighting{end, at})
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

// records returns the number of records left, and whether it is known. A record in hand is left, whatever the
// last poll said.
func (p *progress) records() (int64, bool) {
	if p.next < 0 || (!p.known && p.inHand.IsZero()) {
		return 0, false
	}
	left := max(0, p.end-p.next)
	if !p.inHand.IsZero() {
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
	case !p.inHand.IsZero():
		return max(0, now.Sub(p.inHand)), true
	}
	for _, s := range p.seen {
		if s.end > p.next {
			return max(0, now.Sub(s.at)), true
		}
	}
	return 0, true
}

func (p *progress) caughtUp() bool { return p.known && p.next >= p.goal }
