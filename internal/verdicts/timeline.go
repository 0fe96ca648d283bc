package verdicts

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Place is one partition that one group reads.
type Place struct {
	Group     string `json:"group"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

// String names the partition, such as orders.created/1.
func (p Place) String() string { return p.Topic + "/" + strconv.Itoa(int(p.Partition)) }

// DefaultLimit is how many samples a Timeline keeps where nobody says otherwise.
const DefaultLimit = 64

// ErrBackwards is the error of a sample that is not later than the one before it.
var ErrBackwards = errors.New("the sample is not later than the one before it")

// Timeline is what was seen of one place, in the order of time. It keeps a bounded
// number of samples: all of the newest half, and of the older ones fewer the older
// they are, but always those that tell when the commit stopped moving or went
// back. What stays the same is kept as its first and its last sample.
//
// It is not safe for concurrent use.
type Timeline struct {
	Place
	limit   int
	samples []Sample
}

// NewTimeline returns an empty timeline that keeps limit samples; 0 is
// DefaultLimit, and the least is 8.
func NewTimeline(place Place, limit int) *Timeline {
	if limit == 0 {
		limit = DefaultLimit
	}
	return &Timeline{Place: place, limit: max(limit, 8)}
}

// Add appends a sample. One that goes back in time is ErrBackwards and changes
// nothing: a clock that was set back is waited for, or a new timeline begun.
func (t *Timeline) Add(s Sample) error {
	n := len(t.samples)
	if n > 0 && !s.At.After(t.samples[n-1].At) {
		return fmt.Errorf("%s: %w (%s after %s)", t.Place, ErrBackwards, s.At.Format(time.RFC3339Nano), t.samples[n-1].At.Format(time.RFC3339Nano))
	}
	if n > 1 && same(&t.samples[n-2], &t.samples[n-1]) && same(&t.samples[n-1], &s) {
		t.samples[n-1] = s
		return nil
	}
	t.samples = append(t.samples, s)
	if len(t.samples) > t.limit {
		t.thin()
	}
	return nil
}

// Samples returns what is kept, oldest first. It is not to be changed, and valid
// until the next Add.
func (t *Timeline) Samples() []Sample { return t.samples }

// Last returns the newest sample, false for an empty timeline.
func (t *Timeline) Last() (Sample, bool) {
	if len(t.samples) == 0 {
		return Sample{}, false
	}
	return t.samples[len(t.samples)-1], true
}

// ageTolerance is by how much the times of one record may differ that two ages
// say: clocks are not that exact.
const ageTolerance = 2 * time.Second

// same says whether b says what a said, but later.
func same(a, b *Sample) bool {
	return a.Oldest == b.Oldest && a.Stable == b.Stable && a.End == b.End && a.Committed == b.Committed &&
		a.Owner == b.Owner && a.Why == b.Why && a.group() == b.group() && a.topic() == b.topic() &&
		sameRecord(a, b, a.FirstUnread, b.FirstUnread) && sameRecord(a, b, a.LastRecord, b.LastRecord)
}

func sameRecord(a, b *Sample, aAge, bAge Span) bool {
	x, known := aAge.Get()
	y, also := bAge.Get()
	if !known || !also {
		return aAge == bAge
	}
	return (y - x - b.At.Sub(a.At)).Abs() <= ageTolerance
}

// thin makes room: of the older half it leaves out every second sample, but for
// those that tell something; where all of them do, the oldest goes.
func (t *Timeline) thin() {
	half := len(t.samples) / 2
	kept, drop := t.samples[:1], false
	for i := 1; i < half; i++ {
		drop = !drop
		if drop && !telling(t.samples[i-1], t.samples[i], t.samples[i+1]) {
			continue
		}
		kept = append(kept, t.samples[i])
	}
	kept = append(kept, t.samples[half:]...)
	if len(kept) > t.limit {
		kept = append(kept[:0], kept[1:]...)
	}
	clear(t.samples[len(kept):])
	t.samples = kept
}

// telling says whether a sample tells what its neighbours do not: that the commit
// stopped moving with it, or went back before or with it, that something waited
// before it or after it and not with it or the other way round, or that it is of
// another topic.
func telling(before, s, after Sample) bool {
	if before.topic().ID != s.topic().ID || s.topic().ID != after.topic().ID {
		return true
	}
	if before.nothingWaits() != s.nothingWaits() || s.nothingWaits() != after.nothingWaits() {
		return true
	}
	was, _ := before.Committed.Get()
	is, _ := s.Committed.Get()
	will, _ := after.Committed.Get()
	return was != is && is == will || is < was || will < is
}
