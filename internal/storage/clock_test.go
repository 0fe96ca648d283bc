package storage_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/storage"
)

// machine has clocks that a test sets.
type machine struct {
	wall    time.Time
	elapsed time.Duration
}

func newMachine() *machine { return &machine{wall: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)} }

func (m *machine) clocks() storage.Instant { return storage.Instant{Wall: m.wall, Elapsed: m.elapsed} }

// run has time elapse.
func (m *machine) run(d time.Duration) { m.wall, m.elapsed = m.wall.Add(d), m.elapsed+d }

// set moves the time of day alone.
func (m *machine) set(d time.Duration) { m.wall = m.wall.Add(d) }

func openAt(t *testing.T, url string, m *machine) *storage.Store {
	t.Helper()
	s, err := storage.Open(t.Context(), url, "clerk", notes(), storage.WithClocks(m.clocks))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tick(t *testing.T, s *storage.Store, newest time.Time) storage.Times {
	t.Helper()
	times, err := s.Tick(t.Context(), newest)
	if err != nil {
		t.Fatal(err)
	}
	return times
}

const (
	days = 24 * time.Hour
	age  = 90 * days
)

func TestTrustedTimeIsTimeThatHasElapsed(t *testing.T) {
	onEach(t, func(t *testing.T, empty maker) {
		url, m := empty(t), newMachine()
		first := m.wall
		s := openAt(t, url, m)
		want := func(what string, elapsed, step, behind time.Duration, newest time.Time) storage.Times {
			t.Helper()
			got := tick(t, s, newest)
			if !got.Trusted.Equal(first.Add(elapsed)) || got.Step != step || got.Behind != behind || !got.Wall.Equal(m.wall) {
				t.Errorf("%s: %+v; want %v elapsed, a step of %v, %v behind", what, got, elapsed, step, behind)
			}
			return got
		}
		want("first ever it is the time of day", 0, 0, 0, first)
		m.run(time.Hour)
		want("it runs", time.Hour, 0, 0, m.wall)
		m.set(2 * time.Minute)
		want("clocks that are kept up to date differ", time.Hour, 0, 0, m.wall)
		m.set(91 * days)
		if _, ok := want("set ahead", time.Hour, 91*days, 0, m.wall).Cutoff(age); ok {
			t.Error("a step removes something")
		}
		m.run(time.Minute)
		// An order of these days is newest; nothing has aged all the same.
		if before, ok := want("after it", time.Hour+time.Minute, 0, 0, m.wall).Cutoff(age); !ok || before.After(first.Add(2*time.Hour-age)) {
			t.Errorf("after a step ahead removes what is before %v, %v", before, ok)
		}
		ahead := m.wall
		m.set(-91*days - 2*time.Minute)
		want("set back", time.Hour+time.Minute, -91*days-2*time.Minute, ahead.Sub(m.wall), ahead)
		closed(t, s)

		m.set(-time.Hour)
		s = openAt(t, url, m)
		want("set back while nobody ran", time.Hour+time.Minute, -time.Hour, 0, m.wall)
		closed(t, s)
		m.run(6 * days) // not ours: nobody ran
		s = openAt(t, url, m)
		want("nobody ran", time.Hour+time.Minute, 0, 0, m.wall)
		closed(t, s)
		m.set(91 * days)
		s = openAt(t, url, m)
		defer closed(t, s)
		if _, ok := want("started with a clock that is ahead", time.Hour+time.Minute, 91*days, 0, m.wall).Cutoff(age); ok {
			t.Error("a start with a clock that is ahead removes something")
		}
	})
}

func TestWhatIsOldIsJudgedByTheLeastTime(t *testing.T) {
	m := newMachine()
	s := openAt(t, sqliteIn(t), m)
	defer closed(t, s)
	first := m.wall
	m.run(100 * days)
	for what, tt := range map[string]struct {
		newest time.Time
		want   time.Time // zero for nothing
	}{
		"no record":        {time.Time{}, time.Time{}},
		"an old record":    {first.Add(5 * days), first.Add(5*days - age)},
		"a new record":     {m.wall, m.wall.Add(-age)},
		"one of a moment":  {m.wall.Add(time.Minute), m.wall.Add(-age)},
		"one that is late": {first.Add(99 * days), first.Add(9 * days)},
	} {
		before, ok := tick(t, s, tt.newest).Cutoff(age)
		if !before.Equal(tt.want) || ok == tt.want.IsZero() {
			t.Errorf("%s: what is before %v, %v; want %v", what, before, ok, tt.want)
		}
	}
}

// What was stored while the clock was behind bears a time that is too old. It
// stays for its age, by the time that elapses.
func TestAClockThatWasBehindRemovesNothingForAnAge(t *testing.T) {
	m := newMachine()
	s := openAt(t, sqliteIn(t), m)
	defer closed(t, s)
	m.run(100 * days)
	newest := m.wall
	m.set(-91 * days)
	if got := tick(t, s, newest); got.Behind != 91*days {
		t.Errorf("behind by %v", got.Behind)
	}
	m.set(91 * days)
	tick(t, s, newest) // the step back
	for _, tt := range []struct {
		run  time.Duration
		want bool
	}{{time.Hour, false}, {age - 2*time.Hour, false}, {time.Hour, true}} {
		m.run(tt.run)
		if before, ok := tick(t, s, m.wall).Cutoff(age); ok != tt.want {
			t.Errorf("%v later: before %v, %v; want %v", tt.run, before, ok, tt.want)
		}
	}
}

// Several instances see the same hour pass, once.
func TestInstancesDoNotSpeedTimeUp(t *testing.T) {
	onEach(t, func(t *testing.T, empty maker) {
		url, m := empty(t), newMachine()
		first := m.wall
		all := []*storage.Store{openAt(t, url, m)}
		if all[0].Shared() { // SQLite has one instance at a time: its life goes on in the next
			all = append(all, openAt(t, url, m), openAt(t, url, m))
		}
		for range 5 {
			m.run(time.Hour)
			for _, s := range all {
				tick(t, s, m.wall)
			}
		}
		if all[0].Shared() {
			all = append(all, openAt(t, url, m)) // goes on where they are
		}
		m.run(time.Hour)
		for _, s := range all {
			if got := tick(t, s, m.wall).Trusted.Sub(first); got != 6*time.Hour {
				t.Errorf("%v have elapsed, want 6h", got)
			}
			closed(t, s)
		}
	})
}

func TestTheNewestRecordIsRemembered(t *testing.T) {
	onEach(t, func(t *testing.T, empty maker) {
		url := empty(t)
		s := reopen(t, url)
		newest := func(want time.Time) {
			t.Helper()
			if got, err := s.Newest(t.Context()); err != nil || !got.Equal(want) {
				t.Errorf("newest is %v, %v; want %v", got, err, want)
			}
		}
		newest(time.Time{})
		at := time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)
		if err := s.StartAt(t.Context(), orders(), 0); err != nil {
			t.Fatal(err)
		}
		newest(time.Time{})
		for i, tt := range []struct{ record, want time.Time }{
			{time.Time{}, time.Time{}}, {time.UnixMilli(-1), time.Time{}}, {time.UnixMilli(0), time.Time{}},
			{at, at}, {at.Add(-time.Hour), at}, {time.Time{}, at}, {at.Add(time.Hour), at.Add(time.Hour)},
		} {
			update(t, s, func(ctx context.Context, tx *storage.Tx) error {
				return tx.Advance(ctx, orders(), int64(i), int64(i)+1, tt.record)
			})
			newest(tt.want)
		}
		closed(t, s)
		s = reopen(t, url)
		defer closed(t, s)
		newest(at.Add(time.Hour))
	})
}

// What is stored holds everything only where it is of long ago, and a hold ends.
func TestWhatIsOfLongAgoHolds(t *testing.T) {
	onEach(t, func(t *testing.T, empty maker) {
		for late, held := range map[time.Duration]bool{0: false, days: false, days + time.Second: true, 91 * days: true} {
			m := newMachine()
			s := openAt(t, empty(t), m)
			if err := s.Update(t.Context(), func(tx *storage.Tx) error {
				return errors.Join(tx.Hold(t.Context(), m.wall.Add(-late)), tx.Hold(t.Context(), time.Time{}))
			}); err != nil {
				t.Fatal(err)
			}
			m.run(time.Minute)
			if _, ok := tick(t, s, m.wall).Cutoff(age); ok == held {
				t.Errorf("%v old: held %v, want %v", late, !ok, held)
			}
			m.run(age)
			if before, ok := tick(t, s, m.wall).Cutoff(age); !ok || !before.Equal(m.wall.Add(-age)) {
				t.Errorf("%v old: after an age what is before %v goes, %v", late, before, ok)
			}
			closed(t, s)
		}
	})
}
