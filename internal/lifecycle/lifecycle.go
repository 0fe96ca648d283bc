// Package lifecycle keeps the named parts of a process and stops them in the
// reverse of the order in which they were started. It exists so that every part
// has one owner, that a start which fails half-way leaves no earlier part
// running, and that the whole stop has one deadline. [Sleep] and [Every] wait in
// a way that delays no stop.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Stack holds the parts that were started, in order. The zero value is ready
// to use. Its methods are safe for concurrent use, but parts are started one
// after the other.
type Stack struct {
	// BeforeCrash, where it is set, is called when a part panics, which ends the process: to write what is still in memory.
	BeforeCrash func()

	mu     sync.Mutex
	steps  []step
	failed chan error
}

type step struct {
	name string
	stop func(context.Context) error
}

// OnStop remembers stop for a part that is already running.
func (s *Stack) OnStop(name string, stop func(context.Context) error) {
	s.push(step{name, stop})
}

// Go runs a part that blocks, in a goroutine of the stack's. Its context ends
// when the stack stops; Stop then waits for it. A return before that, with or
// without an error, is a failure and arrives on [Stack.Failed].
func (s *Stack) Go(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	failed := s.failures()
	go func() {
		err := s.crashing(ctx, run)
		if ctx.Err() == nil {
			if err == nil {
				err = errors.New("ended by itself")
			}
			select {
			case failed <- fmt.Errorf("%s: %w", name, err):
				err = nil // reported; Stop need not do so again
			default: // one failure is enough to stop everything
			}
		}
		done <- err
	}()
	s.push(step{name, func(context.Context) error {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	}})
}

// crashing runs a part. It lets a panic go on, with its stack as it is.
func (s *Stack) crashing(ctx context.Context, run func(context.Context) error) error {
	crashed := s.BeforeCrash != nil
	defer func() {
		if crashed {
			s.BeforeCrash()
		}
	}()
	err := run(ctx)
	crashed = false
	return err
}

// Failed reports the first part started with [Stack.Go] that ended by itself.
func (s *Stack) Failed() <-chan error { return s.failures() }

// Stop undoes all parts in reverse order, every one even if another failed,
// and joins their errors. ctx bounds the whole of it. A second call finds
// nothing left to do.
func (s *Stack) Stop(ctx context.Context) error {
	s.mu.Lock()
	steps := s.steps
	s.steps = nil
	s.mu.Unlock()
	var errs []error
	for i := len(steps) - 1; i >= 0; i-- {
		if err := steps[i].undo(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", steps[i].name, err))
		}
	}
	return errors.Join(errs...)
}

// undo calls the part's stop, and gives up on one that does not return by the
// deadline: one part that hangs must not keep the others from stopping.
func (s step) undo(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.stop(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done: // it had ended as well
		return err
	default:
		return fmt.Errorf("still running: %w", ctx.Err())
	}
}

func (s *Stack) push(st step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps = append(s.steps, st)
}

func (s *Stack) failures() chan error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = make(chan error, 1)
	}
	return s.failed
}

// Every does work in intervals until ctx ends, first when one has passed. It
// returns nil then, and the work's error where that fails for good.
func Every(ctx context.Context, interval time.Duration, work func(context.Context) error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := work(ctx); err != nil {
			return err
		}
	}
}

// Sleep waits for d, or returns ctx's error as soon as ctx ends: a wait that
// does not delay a stop.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
