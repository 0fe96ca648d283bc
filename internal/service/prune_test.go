package service

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// pruning is a service that prunes, whose time of day the test sets.
type pruning struct {
	*telemetrytest.Recorder

	mu     sync.Mutex // guards the rest
	set    time.Duration
	newest time.Time
	cuts   []time.Duration // how old what was removed is by the system's clock, round by round
}

func startPruning(t *testing.T, p *pruning) {
	t.Helper()
	p.Recorder = telemetrytest.New(t, "shop", Common())
	system := storage.SystemClocks()
	clocks := func() storage.Instant {
		p.mu.Lock()
		defer p.mu.Unlock()
		now := system()
		now.Wall = now.Wall.Add(p.set)
		return now
	}
	store, err := storage.Open(t.Context(), "sqlite:"+t.TempDir(), "shop", nil, storage.WithClocks(clocks))
	if err != nil {
		t.Fatal(err)
	}
	b := &Base{Stack: &lifecycle.Stack{}, Telemetry: p.Telemetry, Store: store, Log: p.Logger()}
	newest := func(context.Context) (time.Time, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.newest, nil
	}
	if err := b.PruneAfter(time.Hour, newest, func(_ context.Context, _ *storage.Tx, before time.Time, limit int) (int64, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cuts = append(p.cuts, time.Since(before))
		if len(p.cuts) == 1 {
			return int64(limit), nil // there is more
		}
		return 1, nil
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stack.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestRoundsOfPruning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pruning{newest: time.Now()}
		startPruning(t, p)
		want := func(what string, cuts int, forward, backward, behind, removed float64) {
			t.Helper()
			synctest.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			if len(p.cuts) != cuts {
				t.Errorf("%s: %d removals, want %d: %v", what, len(p.cuts), cuts, p.cuts)
			}
			for name, value := range map[string]float64{clockBehind: behind, prunedRows: removed} {
				if got := p.Metric(name, nil); got != value {
					t.Errorf("%s: %s is %v, want %v", what, name, got, value)
				}
			}
			for direction, value := range map[string]float64{"forward": forward, "backward": backward} {
				if got := p.Metric(clockSteps, map[string]string{"direction": direction}); got != value {
					t.Errorf("%s: %v steps %s, want %v", what, got, direction, value)
				}
			}
		}
		setBy := func(d time.Duration) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.set = d
		}
		pass := func(d time.Duration) {
			<-time.After(d)
			p.mu.Lock()
			defer p.mu.Unlock()
			p.newest = time.Now().Add(p.set)
		}
		want("at the start", 2, 0, 0, 0, storage.PruneBatch+1)
		pass(time.Hour)
		want("an hour later", 3, 0, 0, 0, storage.PruneBatch+2)

		setBy(91 * 24 * time.Hour)
		pass(2 * time.Minute)
		want("set ahead", 3, 1, 0, 0, storage.PruneBatch+2)
		pass(58 * time.Minute)
		want("the round after that", 3, 1, 0, 0, storage.PruneBatch+2)
		pass(time.Hour)
		want("the one after", 4, 1, 0, 0, storage.PruneBatch+3)
		if cut := p.cuts[3]; cut < time.Hour || cut > 2*time.Hour {
			t.Errorf("with the clock ahead what is older than %v goes", cut)
		}
		ahead := p.newest
		setBy(0)
		<-time.After(2 * time.Minute)
		want("set back, behind the newest record", 4, 1, 1, time.Until(ahead).Truncate(time.Second).Seconds(), storage.PruneBatch+3)
		warnings := 0
		for _, line := range p.Logs() {
			if line["level"] == "WARN" && strings.Contains(line["msg"].(string), "nothing is removed") {
				warnings++
			}
		}
		if warnings != 3 { // two steps, and that it is behind, once
			t.Errorf("%d warnings: %v", warnings, p.Logs())
		}
		p.CheckCatalogue()
	})
}
