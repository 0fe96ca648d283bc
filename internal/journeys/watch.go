package journeys

import (
	"maps"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

// maxSamples bounds what is remembered of the past: two minutes of looks, and of longer ago
// ever fewer.
const maxSamples = 256

// maxGap is how far apart two looks may be for the second to say when something happened.
const maxGap = micros(3 * time.Second / time.Microsecond)

// sample is what one look at the brokers saw.
type sample struct {
	at     micros // when it began: the rest was so then, or later
	looked micros // when the offsets were known; the ends were asked for after that
	ends   map[record.Partition]int64
	// shown and passed are the offsets that suivi and paiement have committed.
	shown, passed map[record.Partition]int64
}

// watch knows when what stood where. It goes by a time of its own: the time of day when it
// began, and what has elapsed since. A clock that is set moves nothing; and a record's own time
// counts only as far as it fits to when the logs were seen to end before and behind it.
type watch struct {
	clocks storage.Clocks
	began  storage.Instant

	mu      sync.Mutex
	samples []sample // oldest first
	seen    micros   // all that was written before has been read; 0: not known
}

func newWatch(clocks storage.Clocks) *watch { return &watch{clocks: clocks, began: clocks()} }

// now is the time by which all is judged here.
func (w *watch) now() micros {
	return microsOf(w.began.Wall.Add(w.clocks().Elapsed - w.began.Elapsed))
}

// look adds what a look saw.
func (w *watch) look(s sample) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.samples) >= maxSamples {
		kept := w.samples[:0]
		for i, old := range w.samples {
			if i%2 == 1 || i > maxSamples*3/4 {
				kept = append(kept, old)
			}
		}
		w.samples = kept
	}
	w.samples = append(w.samples, s)
}

// read notes how far the logs have been read, and returns the time up to which all that was
// written is known; 0 where that is not known yet. empty says whether offsets from one to another
// are known to hold no record.
func (w *watch) read(next map[record.Partition]int64, empty func(p record.Partition, from, to int64) bool) micros {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range slices.Backward(w.samples) {
		if s.at <= w.seen {
			break
		}
		behind := false
		for p, end := range s.ends {
			from, known := next[p]
			if end > 0 && (!known || from < end && !empty(p, from, end)) {
				behind = true
				break
			}
		}
		if !behind {
			w.seen = s.at
			break
		}
	}
	return w.seen
}

// upTo returns what [watch.read] last did.
func (w *watch) upTo() micros {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

// written is when a record was written: its own time, unless the logs say that it was earlier
// or later than that.
func (w *watch) written(at record.Place, own time.Time) micros {
	w.mu.Lock()
	defer w.mu.Unlock()
	earliest, latest := micros(1), w.now()
	i := sort.Search(len(w.samples), func(i int) bool { return w.samples[i].ends[at.Partition] > at.Offset })
	if i > 0 {
		earliest = w.samples[i-1].at
	}
	if i+1 < len(w.samples) { // the ends were asked for before the next look
		latest = w.samples[i+1].at
	}
	t := latest
	if own.UnixMicro() > 0 {
		t = microsOf(own)
	}
	return max(earliest, min(t, latest))
}

// shownAt is when the decision at a place, written at a time, was seen to be shown; watched says that
// it is about right. Where nobody looked at that moment, it is the earliest that it can have
// been.
func (w *watch) shownAt(at record.Place, decided micros) (t micros, watched bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := sort.Search(len(w.samples), func(i int) bool { return w.samples[i].shown[at.Partition] > at.Offset })
	if i == 0 || i == len(w.samples) {
		return decided, false
	}
	last := w.samples[i-1].looked
	if s := w.samples[i]; s.looked-last <= maxGap {
		return max(decided, s.looked), true
	}
	return max(decided, last), false
}

// shown returns the offsets up to which decisions were shown at the last look.
func (w *watch) shown() map[record.Partition]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.samples) == 0 {
		return nil
	}
	return maps.Clone(w.samples[len(w.samples)-1].shown)
}

// passed says whether a record of orders.created was done with by who decides, so long
// ago that all they published of it has been read here: they commit after that. The one exception is an
// instance that takes a partition over: it commits what its storage has before it publishes what the instance
// before left behind, at once; settle is far more than it takes for that. It returns nil where it
// has not watched for that long.
func (w *watch) passed(settle micros) func(at place) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range slices.Backward(w.samples) {
		if s.looked <= w.seen-settle {
			return func(at place) bool {
				return at.offset < s.passed[record.Partition{Topic: banking.TopicOrdersCreated, ID: int32(at.log / 2)}] //nolint:gosec // it was one
			}
		}
	}
	return nil
}
