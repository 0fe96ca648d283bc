package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"modernc.org/sqlite"
)

// fault is what an error of the database says about the database.
type fault int

const (
	faultNone    fault = iota // nothing: it is about the statement or its moment
	faultRange                // it cannot hold a value, whoever tries and when
	faultDamaged              // its bytes are not what it wrote
	faultSpace                // it could not write where it had to: the disk is full or fails
)

// faultOf reads the codes of SQLite (rescode.html) and PostgreSQL (appendix A
// of its manual).
func faultOf(err error) fault {
	if errors.Is(err, errPages) {
		return faultDamaged
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff { // the primary code
		case 18, 20, 25: // too big, mismatch, range
			return faultRange
		case 19: // constraint; a key that is there already is for the caller
			if !IsUnique(err) {
				return faultRange
			}
		case 11, 26: // corrupt, not a database
			return faultDamaged
		case 10, 13: // input or output, full
			return faultSpace
		}
		return faultNone
	}
	switch code := postgresCode(err); {
	case code == "":
		return faultNone
	case code[:2] == "22", code[:2] == "54", code == "23502", code == "23514": // data, limits, not null, check
		return faultRange
	case code == "XX001", code == "XX002": // data or index corrupted
		return faultDamaged
	case code[:2] == "53" && code != codeTooManyConnections, code[:2] == "58": // resources, system
		return faultSpace
	}
	return faultNone
}

const (
	// checkEvery is how old the proof may be that the storage takes writes: at
	// most one write in this time is made for no other purpose.
	checkEvery = 5 * time.Second
	// lookShare keeps looking at the pages to a share of the time: a look of a tenth
	// of a second is followed by five seconds without.
	lookShare = 50
	// distrust is how long a write that found no room speaks against the storage
	// although smaller ones succeed.
	distrust = 30 * time.Second
)

// health is what the storage's users have met, so that readiness need not try
// what they have just tried.
type health struct {
	mu       sync.Mutex
	wroteAt  time.Time // of the last commit
	damaged  error     // for good, once it has been met
	noRoom   error     // of the last write that found none, until one succeeds
	noRoomAt time.Time
	probed   error         // how the last probe ended
	probedAt time.Time     // when it was begun
	probing  chan struct{} // closed when the probe under way has ended
	looking  bool
	lookAt   time.Time // when the next look at the pages is due
	unread   error     // why the last one could not be made
}

// noted gives an error of the database its meaning for callers, and keeps it
// for [Store.Check].
func (s *Store) noted(err error) error {
	if err == nil || errors.Is(err, ErrDamaged) || errors.Is(err, ErrOutOfRange) {
		return err
	}
	switch faultOf(err) {
	case faultRange:
		return fmt.Errorf("%w: %w", ErrOutOfRange, err)
	case faultDamaged:
		err = fmt.Errorf("%w: %s: %w", ErrDamaged, s.name, err)
		s.health.mu.Lock()
		s.health.damaged = err
		s.health.mu.Unlock()
	case faultSpace:
		s.health.mu.Lock()
		s.health.noRoom, s.health.noRoomAt = err, time.Now()
		s.health.mu.Unlock()
	case faultNone:
	}
	return err
}

// wrote notes that the storage took a write; work is one that was made for its
// own sake.
func (h *health) wrote(work bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wroteAt = time.Now()
	if work {
		h.noRoom = nil
	}
}

// verdict is what is known without a write; known is false where one is due.
func (h *health) verdict(now time.Time) (known bool, err error) {
	switch {
	case h.damaged != nil:
		return true, h.damaged
	case h.unread != nil:
		return true, h.unread
	case h.noRoom != nil && now.Sub(h.noRoomAt) < distrust:
		return true, h.noRoom
	case now.Sub(h.wroteAt) < checkEvery:
		return true, nil
	case now.Sub(h.probedAt) < checkEvery && h.probing == nil:
		return true, h.probed
	}
	return false, nil
}

// Check says whether the storage answers and takes writes: it does if something
// was stored within the last seconds, or if a small write succeeds, of which
// there is at most one in that time, whoever asks. A file's pages are looked at
// besides, from the disk: a connection reads and writes those that it has in
// memory long after others have been put in their place. Its error leaves out the user
// and the address of the connection: that is for the log, not for clients that
// check the service's health.
func (s *Store) Check(ctx context.Context) error {
	var one int
	if err := s.QueryRow(ctx, "SELECT 1").Scan(&one); err != nil {
		return fmt.Errorf("ask the storage: %w", withoutAddress(err))
	}
	s.startLook(ctx)
	done, err := s.startProbe(ctx)
	if done != nil {
		select {
		case <-done:
			s.health.mu.Lock()
			err = s.health.probed
			s.health.mu.Unlock()
		case <-ctx.Done(): // the write goes on: a disk may be slow to fail
			err = fmt.Errorf("a write has not ended: %w", ctx.Err())
		}
	}
	if err != nil {
		return fmt.Errorf("write to the storage: %w", err)
	}
	return nil
}

// startProbe begins a write, unless one is under way or not due, whose verdict
// it then returns.
func (s *Store) startProbe(ctx context.Context) (done <-chan struct{}, err error) {
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if known, err := h.verdict(time.Now()); known {
		return nil, err
	}
	if h.probing != nil {
		return h.probing, nil
	}
	if err := s.begin(); err != nil {
		return nil, err
	}
	probing := make(chan struct{})
	h.probing, h.probedAt = probing, time.Now()
	go func() { // [Store.Close] waits for it; the database bounds it
		defer s.underWay.Done()
		defer close(probing)
		err := withoutAddress(s.probe(context.WithoutCancel(ctx)))
		h.mu.Lock()
		h.probed, h.probing = err, nil
		h.mu.Unlock()
	}()
	return probing, nil
}

// startLook begins to look at the pages of a file, where that is due.
func (s *Store) startLook(ctx context.Context) {
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.look == nil || h.looking || time.Now().Before(h.lookAt) || s.begin() != nil {
		return
	}
	h.looking = true
	go func() { // [Store.Close] waits for it; it is bounded
		defer s.underWay.Done()
		begun := time.Now()
		err := s.noted(s.look(context.WithoutCancel(ctx)))
		h.mu.Lock()
		defer h.mu.Unlock()
		h.looking, h.unread = false, err
		h.lookAt = time.Now().Add(max(checkEvery, lookShare*time.Since(begun)))
	}()
}

// probe moves the clock on: a write that is of some use.
func (s *Store) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	_, _, err := s.moveClock(ctx, s.clock.clocks(), false)
	return err
}
