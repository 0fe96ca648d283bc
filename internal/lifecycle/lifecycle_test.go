package lifecycle_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/vigie-dev/vigie/internal/lifecycle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStopUndoesInReverseOrderAndJoinsErrors(t *testing.T) {
	var order []string
	note := func(name string, err error) func(context.Context) error {
		return func(context.Context) error { order = append(order, name); return err }
	}
	boom := errors.New("boom")
	var s lifecycle.Stack
	ctx := context.Background()
	for _, p := range []struct {
		name string
		err  error
	}{{"storage", nil}, {"kafka", boom}, {"http", nil}} {
		if err := s.Start(ctx, p.name, note("+"+p.name, nil), note("-"+p.name, p.err)); err != nil {
			t.Fatal(err)
		}
	}
	err := s.Stop(ctx)
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "stop kafka") {
		t.Errorf("Stop error = %v, want it to name kafka and wrap boom", err)
	}
	want := []string{"+storage", "+kafka", "+http", "-http", "-kafka", "-storage"}
	if !slices.Equal(order, want) {
		t.Errorf("order = %v, want %v", order, want)
	}
	if err := s.Stop(ctx); err != nil {
		t.Errorf("second Stop = %v, want nil", err)
	}
}

func TestFailedStartLeavesNothingToUndo(t *testing.T) {
	var s lifecycle.Stack
	boom := errors.New("boom")
	err := s.Start(context.Background(), "kafka",
		func(context.Context) error { return boom },
		func(context.Context) error { t.Error("stop of a part that never started"); return nil })
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "start kafka") {
		t.Errorf("error = %v", err)
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestGoReportsAPartThatEndsByItself(t *testing.T) {
	var s lifecycle.Stack
	boom := errors.New("boom")
	s.Go("loop", func(context.Context) error { return boom })
	if err := <-s.Failed(); !errors.Is(err, boom) || !strings.Contains(err.Error(), "loop") {
		t.Errorf("Failed = %v", err)
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Errorf("Stop = %v, want what was told already to be left out", err)
	}
}

func TestStopCancelsAndWaits(t *testing.T) {
	var s lifecycle.Stack
	ended := false
	s.Go("loop", func(ctx context.Context) error { <-ctx.Done(); ended = true; return ctx.Err() })
	if err := s.Stop(context.Background()); err != nil || !ended {
		t.Errorf("Stop = %v, ended = %v", err, ended)
	}
}

func TestStopGivesUpAtItsDeadline(t *testing.T) {
	var s lifecycle.Stack
	release := make(chan struct{})
	s.Go("stuck", func(context.Context) error { <-release; return nil })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Stop(ctx); err == nil || !strings.Contains(err.Error(), "stuck") {
		t.Errorf("Stop = %v, want it to name the stuck part", err)
	}
	close(release)
}
