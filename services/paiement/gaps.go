package paiement

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// A rebuild knows what the topics hold, and sees where they lack something: the
// beginning of a partition was cut, its middle was lost, or all of it belonged to
// a topic that is no more. What stood there was written before what stands behind
// it, so the times of that bound the time from which on everything is known.

// sampled is how many records behind a gap give it its time. One alone may be
// wrong: a clock that was set back, or a stranger.
const sampled = 100

// gap is where a partition lacks what it had.
type gap struct {
	partition record.Partition
	what      string
	times     []time.Time // of the first events of ours behind it
}

// gaps are the last of each partition, after which it has everything. Several
// partitions may be read at once.
type gaps struct {
	mu  sync.Mutex
	all map[record.Partition]*gap
}

func newGaps() *gaps { return &gaps{all: map[record.Partition]*gap{}} }

func (g *gaps) add(found *gap) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all[found.partition] = found
}

// cut notes that a partition begins at an offset and has been read up to another.
func (g *gaps) cut(p record.Partition, start, known int64) {
	what := fmt.Sprintf("%s has nothing before offset %d", p, start)
	if known < 0 && start == 0 {
		what = fmt.Sprintf("%s is of a topic that was made again", p)
	}
	g.add(&gap{partition: p, what: what})
}

// hole notes offsets in a partition's middle that have no record any more.
func (g *gaps) hole(s kafka.Span) {
	g.add(&gap{partition: s.Partition, what: fmt.Sprintf("%s lacks offsets %d to %d", s.Partition, s.Start, s.End-1)})
}

// event gives the gap before an event of ours its time.
func (g *gaps) event(r record.Record) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.all[r.Partition]
	if before == nil || len(before.times) == sampled {
		return
	}
	if at, ok := timeOf(r); ok {
		before.times = append(before.times, at)
	}
}

// horizon is the time from which on every decision and purge is known; zero where
// there is no gap. Where nothing stands behind one, it is open: the time is then only
// that of the newest event that is known, which newest returns.
func (g *gaps) horizon(now time.Time, newest func() (time.Time, error)) (from time.Time, open bool, err error) {
	for _, one := range g.all {
		at, ok := latest(one.times, now)
		if !ok {
			open = true
			if at, err = newest(); err != nil {
				return from, open, err
			}
		}
		since := at.Add(skew)
		if since.After(now) { // what is placed from now on has not been decided; where the clock is behind, what is placed after that
			since = later(at.Add(time.Microsecond), now)
		}
		from = later(from, since)
	}
	return from.Truncate(time.Microsecond), open, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// latest is the largest of the times that are not of the future, if any.
func latest(times []time.Time, now time.Time) (last time.Time, ok bool) {
	for _, t := range times {
		if !t.After(now.Add(skew)) && !t.Before(last) {
			last, ok = t, true
		}
	}
	return last, ok
}

// newest is the time of the newest event that the topics' ends and the ledger
// know of. Where most are of the future, it is the clock that is behind; a single
// one is not believed. Where nothing is known it is now.
func (r *rebuild) newest(ctx context.Context, now time.Time) (time.Time, error) {
	spans, err := r.log.Bounds(ctx, append(settlements(), banking.TopicOrdersCreated)...)
	if err != nil {
		return now, err
	}
	for i, s := range spans {
		spans[i].Start = max(s.Start, s.End-sampled)
	}
	var mu sync.Mutex
	var times []time.Time
	err = r.log.Scan(ctx, spans, func(record record.Record) error {
		if at, ok := timeOf(record); ok {
			mu.Lock()
			defer mu.Unlock()
			times = append(times, at)
		}
		return nil
	})
	if err != nil {
		return now, fmt.Errorf("look for the newest event: %w", err)
	}
	if at, ok, err := r.store.newestEntry(ctx); err != nil {
		return now, err
	} else if ok {
		times = append(times, at)
	}
	if len(times) == 0 {
		return now, nil
	}
	slices.SortFunc(times, time.Time.Compare)
	if median := times[len(times)/2]; median.After(now.Add(skew)) {
		return times[len(times)-1], nil
	}
	at, _ := latest(times, now)
	return at, nil
}

// newestEntry is when the newest decision was made, if there is one. A purge's
// time is when it was learned.
func (s store) newestEntry(ctx context.Context) (at time.Time, ok bool, err error) {
	var micros int64
	if err := s.QueryRow(ctx, selectNewest, banking.StatusPurged).Scan(&micros); err != nil {
		return at, false, fmt.Errorf("look for the newest entry: %w", err)
	}
	return time.UnixMicro(micros), micros > 0, nil
}

// timeOf is when an event of ours was written, by what it says itself or by what
// its record says, whichever is later: an order, a decision, a dead letter, or what
// became of one. Anything else says nothing.
func timeOf(r record.Record) (at time.Time, ok bool) {
	if r.Topic == banking.TopicOrdersDLQ {
		if m, err := record.ParseMarker(r); err == nil {
			return later(m.At, r.Time), true
		}
		origin, _, err := record.ParseOrigin(r)
		ours := err == nil && slices.Contains([]string{banking.GroupPaiement, banking.GroupSuivi}, origin.Group)
		return later(origin.FailedAt, r.Time), ours
	}
	event, err := delivery.Decode(r)
	if err != nil {
		return time.Time{}, false
	}
	return later(event.Time(), r.Time), true
}
