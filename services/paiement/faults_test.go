package paiement

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vigie-dev/vigie/internal/faults"
	"github.com/vigie-dev/vigie/internal/lifecycle"
)

// named is one of the authoriser's faults.
func named(t *testing.T, a *Adjustable, name string) faults.Fault {
	t.Helper()
	for _, f := range a.Faults() {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no fault %s", name)
	return faults.Fault{}
}

// during has a fault be in force while work is done.
func during(t *testing.T, f faults.Fault, work func()) {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	begun, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- f.Run(ctx, func() { close(begun) }) }()
	select {
	case <-begun:
	case err := <-ended:
		t.Fatalf("%s ended before it was in force: %v", f.Name, err)
	}
	work()
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestFaultsOfTheAuthoriserEnd(t *testing.T) {
	a := &Adjustable{}
	a.Reset(Simulation{RejectRate: 0.2, Seed: 1})
	rejected := func() (n int) {
		for i := range 200 {
			if v, err := a.Authorise(t.Context(), string(rune('a'+i)), 1); err == nil && !v.Authorized {
				n++
			}
		}
		return n
	}
	usual := rejected()
	if usual < 20 || usual > 60 {
		t.Fatalf("%d of 200 are rejected, want about 40", usual)
	}
	during(t, named(t, a, "rejections-high"), func() {
		if n := rejected(); n < 130 {
			t.Errorf("%d of 200 are rejected, want about 160", n)
		}
		during(t, named(t, a, "authoriser-down"), func() {
			if _, err := a.Authorise(t.Context(), "order-1", 1); !errors.Is(err, errAuthoriser) {
				t.Errorf("the authoriser that is down says %v", err)
			}
		})
		if n := rejected(); n < 130 {
			t.Errorf("the end of one fault ended another: %d of 200", n)
		}
	})
	during(t, named(t, a, "rejections-vanish"), func() {
		if n := rejected(); n != 0 {
			t.Errorf("%d are rejected, want none", n)
		}
	})
	if n := rejected(); n != usual {
		t.Errorf("afterwards %d are rejected, before %d", n, usual)
	}
}

// A call that hangs is answered when the fault ends, and when the service stops.
func TestACallThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &Adjustable{}
		a.Reset(Simulation{Latency: time.Second})
		answered := make(chan error, 1)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		during(t, named(t, a, "authoriser-hangs"), func() {
			go func() {
				_, err := a.Authorise(t.Context(), "order-1", 1)
				answered <- err
			}()
			stopped := make(chan error, 1)
			go func() {
				_, err := a.Authorise(ctx, "order-2", 1)
				stopped <- err
			}()
			_ = lifecycle.Sleep(t.Context(), faults.MaxLength) // of the bubble
			select {
			case err := <-answered:
				t.Errorf("a call that hangs is answered: %v", err)
			default:
			}
			stop()
			if err := <-stopped; !errors.Is(err, context.Canceled) {
				t.Errorf("a call that was given up says %v", err)
			}
		})
		if err := <-answered; err != nil {
			t.Errorf("after the fault: %v", err)
		}
		synctest.Wait()
	})
}
