package sentinelle

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
)

// running has the lookout run until the test is over.
func running(t *testing.T, l *lookout) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Ten who look cost what one does, and none costs nothing.
func TestTheBankIsLookedAtOnceForAll(t *testing.T) {
	for viewers, want := range map[int]int{0: 0, 1: 10, 10: 10} {
		synctest.Test(t, func(t *testing.T) {
			b := healthyBank()
			s := openSite(t, b, surroundings())
			l := s.page.lookout
			l.now = time.Now
			running(t, l)
			ctx, leave := context.WithCancel(t.Context())
			var watching sync.WaitGroup
			for range viewers {
				watching.Go(func() {
					if err := l.Watch(ctx, func(*Snapshot) error { return nil }); err != nil {
						t.Error(err)
					}
				})
			}
			_ = lifecycle.Sleep(t.Context(), 9*time.Second+500*time.Millisecond)
			synctest.Wait()
			if got := s.Metric(pageViewers, nil); int(got) != viewers {
				t.Errorf("%v viewers, want %d", got, viewers)
			}
			if got := b.count("suivi /health/ready"); got != want {
				t.Errorf("%d viewers: looked %d times, want %d", viewers, got, want)
			}
			if got := b.count("vector"); got > want/2+1 {
				t.Errorf("%d viewers: Prometheus was asked %d times in as many seconds", viewers, got)
			}
			leave()
			watching.Wait()
			before := b.count("suivi /health/ready")
			_ = lifecycle.Sleep(t.Context(), time.Minute)
			if got := b.count("suivi /health/ready"); got > before+1 {
				t.Errorf("looked %d times for nobody", got-before)
			}
			if got := s.Metric(pageViewers, nil); got != 0 {
				t.Errorf("%v viewers are left", got)
			}
		})
	}
}

// Who asks once gets a look that is a second old at most; many who ask at once
// share it.
func TestOneLookForManyWhoAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := healthyBank()
		s := openSite(t, b, surroundings())
		l := s.page.lookout
		l.now = time.Now
		running(t, l)
		for round := 1; round <= 3; round++ {
			var asking sync.WaitGroup
			for range 20 {
				asking.Go(func() {
					if got := l.Now(t.Context()); time.Since(got.At) >= refreshInterval {
						t.Errorf("it is %v old", time.Since(got.At))
					}
				})
			}
			asking.Wait()
			if got := b.count("suivi /health/ready"); got != round {
				t.Errorf("looked %d times, want %d", got, round)
			}
			_ = lifecycle.Sleep(t.Context(), 2*time.Second)
		}
		ctx, leave := context.WithCancel(t.Context())
		leave()
		b.change(func() { b.away["suivi"] = true })
		if got := l.Now(ctx); got == nil {
			t.Error("who has gone gets nothing at all")
		}
	})
}

// A part that fails is told once, counted each time, and its figures are gone: what
// is not known is not shown.
func TestAPartThatFails(t *testing.T) {
	b := healthyBank()
	s := openSite(t, b, surroundings())
	for _, part := range parts() {
		for _, word := range []string{"ok", "failed"} {
			if got := s.Metric(looksTotal, map[string]string{"part": string(part), "outcome": word}); got != 0 {
				t.Errorf("%s %s is %v at the start", part, word, got)
			}
		}
	}
	look := func() {
		s.look(t)
		s.now = s.now.Add(3 * time.Second)
	}
	look()
	b.change(func() { b.deaf = true; b.away["suivi"] = true })
	look()
	look()
	latest, _ := s.page.lookout.current()
	for _, part := range []Part{partFigures, partAlerts, partOrders} {
		if latest.Why(part).IsZero() {
			t.Errorf("%s failed, and it is not said", part)
		}
		if got := s.Metric(looksTotal, map[string]string{"part": string(part), "outcome": "failed"}); got != 2 {
			t.Errorf("%s failed %v times, want 2", part, got)
		}
	}
	if len(latest.Figures) > 0 || len(latest.Alarms.Rules) > 0 || latest.Orders != nil {
		t.Errorf("what is not known is kept: %+v", latest)
	}
	b.change(func() { b.deaf = false; delete(b.away, "suivi") })
	look()
	if latest, _ = s.page.lookout.current(); len(latest.Errors) > 0 || len(latest.Figures) == 0 {
		t.Errorf("afterwards %v", latest.Errors)
	}
	warned, told := 0, 0
	for _, line := range s.Logs() {
		switch line["level"] {
		case "WARN":
			warned++
		case "INFO":
			told++
		}
	}
	if warned != 3 || told != 3 {
		t.Errorf("%d warnings and %d lines that it is over, want 3 each: %v", warned, told, s.Logs())
	}
}

// A viewer whose page cannot be sent ends its watch.
func TestAViewerThatIsGone(t *testing.T) {
	s := openSite(t, healthyBank(), surroundings())
	s.look(t)
	gone := errors.New("gone")
	if err := s.page.lookout.Watch(t.Context(), func(*Snapshot) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
	if got := s.Metric(pageViewers, nil); got != 0 {
		t.Errorf("%v viewers are left", got)
	}
}

// What is asked every second carries a token and starts no trace.
func TestLookingLeavesNoTraces(t *testing.T) {
	s := openSite(t, healthyBank(), surroundings())
	s.look(t)
	for _, h := range s.bank.headers {
		if h.Get("Authorization") != "Bearer a-token" || len(h.Get("Traceparent")) != 55 || h.Get("Traceparent")[53:] != "00" {
			t.Errorf("headers %v", h)
		}
	}
	if spans := s.Spans(); len(spans) > 0 {
		t.Errorf("spans %v", spans)
	}
}
