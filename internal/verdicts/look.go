package verdicts

import (
	"slices"
	"time"
)

// looked is a timeline of one log as one look sees it.
type looked struct {
	rules   Rules
	place   Place
	samples []Sample // of the log that there is now, oldest first, never empty
	last    Sample
	moves   []move        // of the commit, forward, oldest first
	back    time.Time     // when the commit was seen to go back last
	usual   time.Duration // between two commits while records wait
}

// move is the commit's step forward, seen with the sample of that number.
type move struct {
	number int
	rested time.Duration // since the step before it, 0 for the first
	waited time.Duration // for it, while there was something to read
}

// usualMoves is how many of the latest moves say how often a group commits, and
// usualMost is the most that they teach: a stall is no habit.
const (
	usualMoves = 9
	usualMost  = 10 * time.Minute
)

func view(r Rules, place Place, samples []Sample) *looked {
	l := &looked{rules: r, place: place, last: samples[len(samples)-1]}
	first := 0
	for i := range samples {
		if id := samples[i].topic().ID; id != "" && l.last.topic().ID != "" && id != l.last.topic().ID {
			first = i + 1
		}
	}
	l.samples = samples[first:]
	l.moves, l.back = moves(l.samples)
	l.usual = usual(l.moves)
	return l
}

// moves finds the steps forward of the commit, and when it went back last.
func moves(samples []Sample) (found []move, back time.Time) {
	before := -1 // the sample with the last known commit
	var began time.Time
	for i := range samples {
		s := &samples[i]
		committed, known := s.Committed.Get()
		if !known {
			continue
		}
		if before >= 0 {
			if was, _ := samples[before].Committed.Get(); committed > was {
				step := move{number: i}
				if !began.IsZero() {
					step.waited = s.At.Sub(began)
				}
				if n := len(found); n > 0 {
					step.rested = s.At.Sub(samples[found[n-1].number].At)
				}
				found, began = append(found, step), time.Time{}
			} else if committed < was {
				back, began = s.At, time.Time{}
			}
		}
		if lag, known := s.Lag().Get(); began.IsZero() && known && lag > 0 {
			began = s.At
		}
		before = i
	}
	return found, back
}

// usual is the median of what the latest moves were waited for.
func usual(all []move) time.Duration {
	if len(all) == 0 {
		return 0
	}
	var waits []time.Duration
	for _, m := range all[max(0, len(all)-usualMoves):] {
		waits = append(waits, m.waited)
	}
	slices.Sort(waits)
	return min(waits[(len(waits)-1)/2], usualMost)
}

func (l *looked) stall() time.Duration    { return max(l.rules.Stall, 3*l.usual) }
func (l *looked) patience() time.Duration { return max(l.rules.Patience, 2*l.usual) }

func (l *looked) committed() int64 {
	committed, _ := l.last.Committed.Get()
	return committed
}

// since returns the first of the newest samples that all are so, the newest at
// the latest.
func (l *looked) since(so func(*Sample) bool) *Sample {
	first := len(l.samples) - 1
	for first > 0 && so(&l.samples[first-1]) {
		first--
	}
	return &l.samples[first]
}

// movedSince says whether the commit went forward after a time.
func (l *looked) movedSince(at time.Time) bool {
	n := len(l.moves)
	return n > 0 && l.samples[l.moves[n-1].number].At.After(at)
}

// waitingSince says from when on something has waited without the commit moving,
// and how many offsets came since the commit.
func (l *looked) waitingSince() (since time.Time, arrived int64) {
	still := l.since(func(s *Sample) bool { return s.Committed == l.last.Committed || s.Committed.IsZero() })
	waiting := l.since(func(s *Sample) bool {
		return !s.At.Before(still.At) && !s.nothingWaits()
	})
	end, _ := l.last.Readable().Get()
	if first, known := still.Readable().Get(); known {
		arrived = max(0, end-first)
	}
	return waiting.At, arrived
}

// seenSince is for how long since a time the partition's end and the group's commit
// were seen. While a leader answers nobody, no member can read either; and while the
// coordinator does not, the commit may move: that time speaks against none of them.
func (l *looked) seenSince(at time.Time) (seen time.Duration) {
	for i := len(l.samples) - 1; i > 0 && l.samples[i-1].At.Compare(at) >= 0; i-- {
		before, after := &l.samples[i-1], &l.samples[i]
		if before.seen() && after.seen() {
			seen += after.At.Sub(before.At)
		}
	}
	return seen
}

// lowest is the lowest commit since a time.
func (l *looked) lowest(at time.Time) int64 {
	lowest := l.committed()
	for i := range l.samples {
		if committed, known := l.samples[i].Committed.Get(); known && !l.samples[i].At.Before(at) {
			lowest = min(lowest, committed)
		}
	}
	return lowest
}

// ages bound the age of the first record that waits: what is known of it for
// certain, and at most. The record's own timestamp and what the watch has seen
// both count, the larger of them: clocks of producers may be wrong. A record that a
// transaction held back was there meanwhile.
func (l *looked) ages() (atLeast time.Duration, atMost Span) {
	seenFirst := l.last.At // the first sample that showed what waits now
	var before time.Time   // the sample before it
	for i := range slices.Backward(l.samples) {
		end, known := l.samples[i].End.Get()
		if !known {
			continue
		}
		if end <= l.committed() {
			before = l.samples[i].At
			break
		}
		seenFirst = l.samples[i].At
	}
	atLeast = l.last.At.Sub(seenFirst)
	if age, known := l.last.FirstUnread.Get(); known {
		atLeast = max(atLeast, age)
		return atLeast, Known(atLeast)
	}
	if !before.IsZero() {
		atMost = Known(l.last.At.Sub(before))
	}
	return atLeast, atMost
}

// age is the age of the first record that waits, none where none does.
func (l *looked) age() Span {
	if l.last.nothingWaits() {
		return None[time.Duration]()
	}
	if _, known := l.last.FirstUnread.Get(); !known {
		return Span{}
	}
	atLeast, _ := l.ages()
	return Known(atLeast)
}

// lost is how many offsets were deleted before the group read them. What held no
// data when it was there is no loss.
func (l *looked) lost() int64 {
	oldest, known := l.last.Oldest.Get()
	if !known {
		return 0
	}
	read := l.committed()
	for i := range slices.Backward(l.samples) {
		s := &l.samples[i]
		if s.Committed != l.last.Committed {
			break
		}
		start, known := s.Oldest.Get()
		if end, ended := s.Readable().Get(); ended && known && start <= read && s.nothingWaits() {
			read = max(read, end)
		}
	}
	return max(0, oldest-read)
}

// toLoss is how long it takes until retention comes to what the group has not
// read: by the age that it allows, and where it is bounded in bytes by how fast the
// log's start moves. A start that is moved for other reasons, as by an application
// that deletes what it has read, says nothing.
func (l *looked) toLoss() Span {
	topic := l.last.topic()
	if l.last.nothingWaits() || topic.Retention.IsNone() && topic.RetentionBytes.IsNone() {
		return None[time.Duration]()
	}
	var left Span
	retention, bounded := topic.Retention.Get()
	age, known := l.age().Get()
	if bounded && known {
		left = Known(max(0, retention-age))
	}
	oldest, known := l.last.Oldest.Get()
	first, also := l.samples[0].Oldest.Get()
	passed := l.last.At.Sub(l.samples[0].At)
	_, bySize := topic.RetentionBytes.Get()
	if bySize && known && also && oldest > first && passed >= l.rules.Patience && l.committed() >= oldest {
		moved := float64(oldest-first) / passed.Seconds()
		byStart := seconds(float64(l.committed()-oldest) / moved)
		if byAge, known := left.Get(); !known || byStart < byAge {
			left = Known(byStart)
		}
	}
	return left
}
