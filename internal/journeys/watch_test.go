package journeys

import (
	"slices"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

// hands are clocks that a test turns.
type hands struct{ now storage.Instant }

func (h *hands) clocks() storage.Instant { return h.now }

func (h *hands) pass(d time.Duration) {
	h.now.Wall, h.now.Elapsed = h.now.Wall.Add(d), h.now.Elapsed+d
}

func newHands() *hands {
	return &hands{storage.Instant{Wall: time.UnixMicro(int64(at(0))), Elapsed: time.Hour}}
}

func TestTheTimeOfDayMovesNothing(t *testing.T) {
	h := newHands()
	w := newWatch(h.clocks)
	h.pass(time.Second)
	h.now.Wall = h.now.Wall.Add(-time.Hour)
	if got := w.now(); got != at(1) {
		t.Errorf("%d after a second, want %d", got, at(1))
	}
}

// A record's own time counts as far as it fits to when its log ended before and behind it.
func TestWhenARecordWasWritten(t *testing.T) {
	h := newHands()
	w := newWatch(h.clocks)
	p := record.Partition{Topic: banking.TopicOrdersCreated, ID: 1}
	for _, end := range []int64{10, 10, 20, 20} {
		h.pass(time.Second)
		w.look(sample{at: w.now(), ends: map[record.Partition]int64{p: end}})
	}
	h.pass(time.Second) // it is 5
	for name, tt := range map[string]struct {
		offset    int64
		own, want micros
	}{
		"as it says":                                {12, at(2.5), at(2.5)},
		"by a clock that is behind":                 {12, at(-3600), at(2)},
		"by a clock that is ahead":                  {12, at(3600), at(4)},
		"without a time":                            {12, 0, at(4)},
		"after the last look":                       {20, at(4.5), at(4.5)},
		"after the last look, by a clock behind":    {20, at(1), at(4)},
		"after the last look, by a clock ahead":     {20, at(9), at(5)},
		"before the first look":                     {3, at(-500), at(-500)},
		"before the first look, by a clock ahead":   {3, at(7), at(2)},
		"of a partition that was never asked about": {0, at(1.5), at(1.5)},
	} {
		place := record.Place{Partition: p, Offset: tt.offset}
		if name == "of a partition that was never asked about" {
			place.ID = 2
			tt.want = max(tt.want, at(4)) // it had no record then
		}
		own := time.Time{}
		if tt.own != 0 {
			own = time.UnixMicro(int64(tt.own))
		}
		if got := w.written(place, own); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got-at(0), tt.want-at(0))
		}
	}
}

func TestWhatWasSeen(t *testing.T) {
	h := newHands()
	w := newWatch(h.clocks)
	p := record.Partition{Topic: banking.TopicPaymentsAuthorized}
	never := func(record.Partition, int64, int64) bool { return false }
	seen := func(next int64, empty func(record.Partition, int64, int64) bool) micros {
		return w.read(map[record.Partition]int64{p: next}, empty)
	}
	if got := seen(9, never); got != 0 {
		t.Errorf("before the first look: %d", got)
	}
	for i, end := range []int64{10, 20, 30} {
		w.look(sample{at: at(float64(i)), looked: at(float64(i)), ends: map[record.Partition]int64{p: end}, shown: map[int64]int64{logOf(p): end - 5}})
	}
	if got := w.read(nil, never); got != 0 {
		t.Errorf("nothing was read: %d", got)
	}
	if got := seen(9, never); got != 0 {
		t.Errorf("behind: %d", got)
	}
	if got := seen(25, never); got != at(1) {
		t.Errorf("in the middle: %d", got-at(0))
	}
	if got := seen(3, never); got != at(1) {
		t.Errorf("it went back: %d", got-at(0))
	}
	if got := seen(29, func(q record.Partition, from, to int64) bool { return q == p && from == 29 && to == 30 }); got != at(2) {
		t.Errorf("a marker at the end: %d", got-at(0))
	}
	for offset, want := range map[int64]struct {
		at      micros
		watched bool
	}{4: {at(0), false}, 5: {at(1), true}, 14: {at(1), true}, 15: {at(2), true}, 25: {at(0), false}} {
		if got, watched := w.shownAt(place{logOf(p), offset}, at(0)); got != want.at || watched != want.watched {
			t.Errorf("shown %d: %v %v, want %v", offset, got-at(0), watched, want)
		}
	}
	w.look(sample{at: at(60), looked: at(60), ends: map[record.Partition]int64{p: 30}, shown: map[int64]int64{logOf(p): 30}})
	if got, watched := w.shownAt(place{logOf(p), 28}, at(0)); got != at(2) || watched {
		t.Errorf("shown while nobody looked: %v %v", got-at(0), watched)
	}
}

// Who decides is done with a record once they have committed beyond it and moved on.
func TestWhoDecidesIsDone(t *testing.T) {
	log := logOf(record.Partition{Topic: banking.TopicOrdersCreated, ID: 1})
	for name, tt := range map[string]struct {
		commits []int64    // a second apart; -1 for none
		seen    int        // up to which of the looks
		want    []progress // by offset, from 4
	}{
		"nothing was committed":         {[]int64{-1, -1}, 1, []progress{ahead}},
		"it has just committed":         {[]int64{4, 6, 6}, 2, []progress{committing, committing, ahead}},
		"it has moved on":               {[]int64{4, 5, 6, 6}, 3, []progress{done, committing, ahead}},
		"it moved on unseen":            {[]int64{4, 5, 6, 6}, 1, []progress{committing, ahead, ahead}},
		"nobody watched it commit":      {[]int64{6, 6, 6}, 2, []progress{committing, committing, ahead}},
		"it was reset":                  {[]int64{4, 6, -1, 5}, 3, []progress{committing, ahead}},
		"it went back and reads on":     {[]int64{4, 6, -1, 5, 6}, 4, []progress{done, committing}},
		"it rests for long":             {append([]int64{4}, slices.Repeat([]int64{6}, 31)...), 31, []progress{done, done, ahead}},
		"it does not yet rest for long": {append([]int64{4}, slices.Repeat([]int64{6}, 30)...), 30, []progress{committing, committing, ahead}},
	} {
		w := newWatch(newHands().clocks)
		for i, commit := range tt.commits {
			s := sample{at: at(float64(i)), looked: at(float64(i)), passed: map[int64]int64{}}
			if commit >= 0 {
				s.passed[log] = commit
			}
			w.look(s)
		}
		w.seen = at(float64(tt.seen))
		for i, want := range tt.want {
			if got := w.passed()(place{log, 4 + int64(i)}); got != want {
				t.Errorf("%s: %d of the record at %d, want %d", name, got, 4+i, want)
			}
		}
	}
	w := newWatch(newHands().clocks)
	w.look(sample{at: at(1), looked: at(1)})
	if w.passed() != nil {
		t.Error("nothing has been seen, and something is known")
	}
}

func TestThePastIsBounded(t *testing.T) {
	w := newWatch(newHands().clocks)
	for i := range 10 * maxSamples {
		w.look(sample{at: at(float64(i))})
	}
	if n := len(w.samples); n > maxSamples || w.samples[n-1].at != at(10*maxSamples-1) || w.samples[n-2].at != at(10*maxSamples-2) {
		t.Errorf("%d samples, the last of %v", n, w.samples[n-1].at)
	}
	for i := 1; i < len(w.samples); i++ {
		if w.samples[i].at <= w.samples[i-1].at {
			t.Fatal("out of order")
		}
	}
}
