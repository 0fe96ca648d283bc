package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func TestStopUndoesInReverseOrderAndJoinsErrors(t *testing.T) {
	var order []string
	boom := errors.New("boom")
	var s lifecycle.Stack
	for _, part := range []struct {
		name string
		err  error
	}{{"storage", nil}, {"kafka", boom}, {"http", nil}} {
		s.OnStop(part.name, func(context.Context) error { order = append(order, part.name); return part.err })
	}
	err := s.Stop(t.Context())
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "stop kafka") {
		t.Errorf("Stop error = %v, want it to name kafka and wrap boom", err)
	}
	if want := []string{"http", "kafka", "storage"}; !slices.Equal(order, want) {
		t.Errorf("order = %v, want %v", order, want)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("second Stop = %v, want nil", err)
	}
}

func TestGoReportsAPartThatEndsByItself(t *testing.T) {
	var s lifecycle.Stack
	boom := errors.New("boom")
	s.Go("loop", func(context.Context) error { return boom })
	if err := <-s.Failed(); !errors.Is(err, boom) || !strings.Contains(err.Error(), "loop") {
		t.Errorf("Failed = %v", err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("Stop = %v, want what was reported already to be left out", err)
	}
}

func TestStopCancelsAndWaits(t *testing.T) {
	var s lifecycle.Stack
	ended := false
	s.Go("loop", func(ctx context.Context) error { <-ctx.Done(); ended = true; return ctx.Err() })
	if err := s.Stop(t.Context()); err != nil || !ended {
		t.Errorf("Stop = %v, ended = %v", err, ended)
	}
}

func TestStopGivesUpAtItsDeadline(t *testing.T) {
	var s lifecycle.Stack
	release := make(chan struct{})
	s.Go("stuck", func(context.Context) error { <-release; return nil })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Stop(ctx); err == nil || !strings.Contains(err.Error(), "stuck") {
		t.Errorf("Stop = %v, want it to name the stuck part", err)
	}
	close(release)
}

func TestSleepEndsWithItsTimeOrItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const d = 20 * time.Millisecond
		start := time.Now()
		if err := lifecycle.Sleep(t.Context(), d); err != nil || time.Since(start) != d {
			t.Errorf("slept %v, %v", time.Since(start), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(d, cancel)
		if err := lifecycle.Sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) || time.Since(start) != 2*d {
			t.Errorf("a sleep whose context ended after %v: %v", time.Since(start)-d, err)
		}
	})
}

func TestEveryWorksInIntervalsUntilTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const d = 20 * time.Millisecond
		start, broken, times := time.Now(), errors.New("broken"), 0
		err := lifecycle.Every(t.Context(), d, func(context.Context) error {
			if times++; times < 3 {
				return nil
			}
			return broken
		})
		if !errors.Is(err, broken) || times != 3 || time.Since(start) != 3*d {
			t.Errorf("worked %d times in %v: %v", times, time.Since(start), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(d/2, cancel)
		if err := lifecycle.Every(ctx, d, func(context.Context) error { return broken }); err != nil {
			t.Errorf("work whose context ended before it began: %v", err)
		}
	})
}

// TestWhatIsInMemoryIsWrittenBeforeACrash has a part panic in a process of its own.
func TestWhatIsInMemoryIsWrittenBeforeACrash(t *testing.T) {
	const crashing = "VIGIE_TEST_CRASHING_PART"
	if os.Getenv(crashing) != "" {
		s := &lifecycle.Stack{BeforeCrash: func() { fmt.Fprintln(os.Stderr, "written") }}
		s.Go("part", func(context.Context) error { panic("at once") })
		select {}
	}
	p := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	p.Env = append(os.Environ(), crashing+"=1")
	out, err := p.CombinedOutput()
	if _, ended := errors.AsType[*exec.ExitError](err); !ended {
		t.Fatal(err)
	}
	before, after, _ := strings.Cut(string(out), "panic: at once")
	if before != "written\n" || !strings.Contains(after, "lifecycle_test.go") {
		t.Errorf("the crash is told so: %s", out)
	}
}
