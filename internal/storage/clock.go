package storage

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Instant is what a machine's two clocks say at one moment.
type Instant struct {
	// Wall is the time of day, which somebody may set.
	Wall time.Time
	// Elapsed is the time since some moment of this process's life. It goes
	// forward, whatever is set.
	Elapsed time.Duration
}

// Clocks reads a machine's clocks.
type Clocks func() Instant

// SystemClocks reads this machine's.
func SystemClocks() Clocks {
	began := time.Now()
	return func() Instant {
		now := time.Now()
		return Instant{Wall: now.Round(0), Elapsed: now.Sub(began)}
	}
}

// WithClocks has the storage go by other clocks than the system's: a test's.
func WithClocks(c Clocks) Option { return func(o *options) { o.clocks = c } }

// maxStep is how far the time of day may move beside the time that has elapsed,
// and how far behind the records' it may be: clocks that are kept up to date
// differ by less.
const maxStep = 2 * time.Minute

// maxAway is how long nobody may have had the storage open before that is told
// as a step of the clock, which it may just as well be.
const maxAway = 7 * 24 * time.Hour

const (
	insertClock = `INSERT INTO clock (name, trusted_us, wall_us, behind_us) VALUES ('clock', $1, $1, 0) ON CONFLICT DO NOTHING`
	selectClock = `SELECT trusted_us, wall_us FROM clock WHERE name = 'clock'`
	moveClock   = `UPDATE clock SET wall_us = $2, trusted_us = CASE WHEN trusted_us < $1 THEN $1 ELSE trusted_us END,
behind_us = CASE WHEN behind_us < $3 THEN $3 ELSE behind_us END
WHERE name = 'clock' RETURNING trusted_us, behind_us`
	holdClock    = `UPDATE clock SET behind_us = trusted_us WHERE name = 'clock' AND behind_us < trusted_us`
	selectNewest = `SELECT COALESCE(MAX(newest_us), 0) FROM positions`
)

// clock is this instance's part in the storage's trusted time: what that was
// when the storage was opened, and what has elapsed since.
type clock struct {
	clocks Clocks
	opened Instant
	base   time.Time // the trusted time then

	mu   sync.Mutex
	last Instant // of the last Tick; before the first, what the storage says of the life before
}

// openClock reads the trusted time; the first time ever it is the time of day.
func (s *Store) openClock(ctx context.Context, clocks Clocks) error {
	if clocks == nil {
		clocks = SystemClocks()
	}
	now := clocks()
	var trusted, wall int64
	err := s.Update(ctx, func(tx *Tx) error {
		if _, err := tx.Exec(ctx, insertClock, now.Wall.UnixMicro()); err != nil {
			return err
		}
		return tx.QueryRow(ctx, selectClock).Scan(&trusted, &wall)
	})
	if err != nil {
		return fmt.Errorf("read the storage's clock: %w", err)
	}
	s.clock = clock{clocks: clocks, opened: now, base: time.UnixMicro(trusted), last: Instant{time.UnixMicro(wall), now.Elapsed}}
	if away := now.Wall.Sub(s.clock.last.Wall); away > 0 && away < maxAway {
		s.clock.last.Wall = now.Wall // nobody ran meanwhile
	}
	return nil
}

// trusted is the trusted time as far as this instance knows.
func (c *clock) trusted(now Instant) time.Time { return c.base.Add(now.Elapsed - c.opened.Elapsed) }

// Times is what a storage knows of time at a [Store.Tick].
type Times struct {
	// Wall is the machine's time of day.
	Wall time.Time
	// Trusted has moved on by no more than the time that instances have run:
	// neither a step of the clock nor a time when nobody ran moves it.
	Trusted time.Time
	// Newest is the time of the newest record, as the caller knows it.
	Newest time.Time
	// Step is how far the time of day was set since the last tick, or since
	// somebody last had the storage open; 0 for less than two minutes. A storage
	// that nobody had open for a week counts as set forward.
	Step time.Duration
	// Behind is how far the time of day is behind the newest record; 0 for less
	// than two minutes.
	Behind time.Duration
	// heldSince is the trusted time when the time of day was last known to be
	// behind, or of the last [Tx.Hold]: what was stored until then may bear a time
	// that is too old.
	heldSince time.Time
}

// Cutoff returns the time before which what is stored is older than an age, by
// everything that tells the time: the newest record, the time of day and the
// trusted time. ok is false where none of it can be believed: a clock was set or
// is behind, or was so while something was stored that is not yet of that age.
func (t Times) Cutoff(age time.Duration) (before time.Time, ok bool) {
	if t.Step != 0 || t.Behind != 0 || t.Newest.IsZero() {
		return time.Time{}, false
	}
	if !t.heldSince.IsZero() && t.Trusted.Sub(t.heldSince) < age {
		return time.Time{}, false
	}
	now := t.Newest
	for _, other := range []time.Time{t.Wall, t.Trusted} {
		if other.Before(now) {
			now = other
		}
	}
	return now.Add(-age), true
}

// Tick moves the trusted time on and says what is known of time. newest is the
// time of the newest record that was stored, zero for none. One caller at a
// time, at least every few minutes: what elapses after the last tick counts
// for nothing when the process ends.
func (s *Store) Tick(ctx context.Context, newest time.Time) (Times, error) {
	c := &s.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clocks()
	t := Times{Wall: now.Wall, Newest: newest}
	t.Step = beyond(now.Wall.Sub(c.last.Wall) - (now.Elapsed - c.last.Elapsed))
	if !newest.IsZero() {
		t.Behind = max(0, beyond(newest.Sub(now.Wall)))
	}
	var err error
	if t.Trusted, t.heldSince, err = s.moveClock(ctx, now, t.Behind > 0); err != nil {
		return Times{}, err // the step is still to be told
	}
	c.last = now
	return t, nil
}

// beyond is d where it is more than clocks differ by, else 0.
func beyond(d time.Duration) time.Duration {
	if d.Abs() <= maxStep {
		return 0
	}
	return d
}

// moveClock stores the time. Of several instances the one that has seen most of
// it counts: they do not add up.
func (s *Store) moveClock(ctx context.Context, now Instant, behind bool) (trusted, held time.Time, err error) {
	at := s.clock.trusted(now).UnixMicro()
	var heldUntil int64
	if behind {
		heldUntil = at
	}
	err = s.transact(ctx, &Tx{store: s}, func(tx *Tx) error {
		return tx.QueryRow(ctx, moveClock, at, now.Wall.UnixMicro(), heldUntil).Scan(&at, &heldUntil)
	})
	if err != nil {
		return time.Time{}, time.Time{}, fmt.Errorf("move the storage's clock on: %w", s.noted(err))
	}
	s.health.wrote(false)
	if heldUntil > 0 {
		held = time.UnixMicro(heldUntil)
	}
	return time.UnixMicro(at), held, nil
}

// maxLate is how long before it is stored something may have happened in an
// ordinary life: longer than any wait, and little beside an age.
const maxLate = 24 * time.Hour

// Hold has nothing removed for its age before that has passed from now on, as far
// as instances run, where what was just added is of long ago: it is read from a log
// once more, or others gave it its time, whose clocks were behind. So whatever is
// added is kept for the age, less a day at most. times are those that it will be removed
// by; a zero one is none. It comes last in a transaction: all that add meet in its row.
func (t *Tx) Hold(ctx context.Context, times ...time.Time) error {
	var oldest time.Time
	for _, at := range times {
		if oldest.IsZero() || !at.IsZero() && at.Before(oldest) {
			oldest = at
		}
	}
	c := &t.store.clock
	if oldest.IsZero() || c.trusted(c.clocks()).Sub(oldest) <= maxLate {
		return nil
	}
	if _, err := t.Exec(ctx, holdClock); err != nil {
		return fmt.Errorf("hold what is stored: %w", err)
	}
	return nil
}

// Newest returns the largest time of a record that was processed, zero for none.
func (s *Store) Newest(ctx context.Context) (time.Time, error) {
	var micros int64
	if err := s.QueryRow(ctx, selectNewest).Scan(&micros); err != nil {
		return time.Time{}, fmt.Errorf("read the newest record's time: %w", err)
	}
	if micros <= 0 {
		return time.Time{}, nil
	}
	return time.UnixMicro(micros), nil
}

// Forget removes at most limit of what was settled before a time, inside a
// transaction, and returns how much that was.
type Forget func(ctx context.Context, tx *Tx, before time.Time, limit int) (int64, error)

// PruneBatch is how much a [Pruning] removes in one transaction: it bounds how
// long others are kept from writing.
const PruneBatch = 500

// Pruning removes from a storage what is settled and older than an age. What is
// older is judged by the newest record, and by no clock alone: see
// [Times.Cutoff]. One goroutine uses it, at least every few minutes.
type Pruning struct {
	Store  *Store
	Age    time.Duration
	Newest func(context.Context) (time.Time, error) // zero for none
	Forget Forget

	set bool // a clock was set since the last round
}

// Look moves the storage's clock on, and says what is known of time.
func (p *Pruning) Look(ctx context.Context) (Times, error) {
	newest, err := p.Newest(ctx)
	if err != nil {
		return Times{}, err
	}
	times, err := p.Store.Tick(ctx, newest)
	p.set = p.set || err == nil && times.Step != 0
	return times, err
}

// Round removes what is older at the times of a [Pruning.Look], and returns how
// much that was and before when it was settled. It removes nothing where no time can be
// believed, or a clock was set since the last round.
func (p *Pruning) Round(ctx context.Context, times Times) (removed int64, before time.Time, err error) {
	set := p.set
	p.set = false
	before, ok := times.Cutoff(p.Age)
	if set || !ok {
		return 0, before, nil
	}
	for {
		var n int64
		err := p.Store.Update(ctx, func(tx *Tx) (err error) {
			n, err = p.Forget(ctx, tx, before, PruneBatch)
			return err
		})
		if err != nil {
			return removed, before, err
		}
		removed += n
		if n < PruneBatch {
			return removed, before, nil
		}
	}
}
