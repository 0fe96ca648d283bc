package sentinelle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/journeys"
	"github.com/vigie-dev/vigie/internal/probe"
	"github.com/vigie-dev/vigie/internal/secret"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// probedSite is a site whose bank is probed once, with paiement hanging or not.
func probedSite(t *testing.T, b *bank) *site {
	t.Helper()
	s := openSite(t, b, surroundings())
	r := telemetrytest.New(t, Name, probe.Catalogue())
	token := func() secret.Value { return secret.Of("the-token") }
	prober, err := probe.New(probe.Config{
		Interval: 50 * time.Millisecond, Patience: 40 * time.Millisecond, Bank: probed{s.page.peers, surroundings(), "http://127.0.0.1:3001", token},
		Telemetry: r.Telemetry, Log: r.Logger(), Partitions: func() int { return 1 },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.page.way = &way{prober: prober}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- prober.Run(ctx) }()
	for len(prober.Latest()) == 0 {
		<-time.After(time.Millisecond)
	}
	cancel()
	if err := errors.Join(<-ended, prober.Close()); err != nil {
		t.Error(err)
	}
	return s
}

// What a probe met stands on the first page, with the reason; the services are asked by the
// probe's token and nothing else tells of it.
func TestTheProbeOnThePage(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*bank)
		want   []string
	}{
		"commande is away":  {func(b *bank) { b.away["commande"] = true }, []string{`<span class="ready away">commande_away</span>`, "connection refused", "not yet"}},
		"an order was made": {func(*bank) {}, []string{`<span class="ready away">unmarked</span>`, "taken for an order like any other"}},
		"commande refuses":  {func(b *bank) { b.refuse = "no probes today" }, []string{`<span class="ready away">refused</span>`, "no probes today"}},
	} {
		b := healthyBank()
		tt.change(b)
		s := probedSite(t, b)
		text := s.read(t, "/", http.StatusOK)
		for _, want := range append(tt.want, "sent every 50 ms") {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in %s", name, want, text)
			}
		}
		if strings.Contains(text, "the-token") {
			t.Errorf("%s: the page has the token", name)
		}
		var state struct{ Way WayThrough }
		s.getJSON(t, "/state", &state)
		if p := state.Way.Probe; p == nil || len(p.Results) == 0 || p.Results[0].OK || p.Results[0].Reason == "" {
			t.Errorf("%s: %+v", name, p)
		}
		b.change(func() {
			for _, h := range b.headers {
				if h.Get(banking.HeaderProbe) != "" && (h.Get(banking.HeaderProbe) != "the-token" || h.Get(banking.HeaderProbePartition) != "0" || strings.HasSuffix(h.Get("Traceparent"), "-01")) {
					t.Errorf("%s: headers %v", name, h)
				}
			}
		})
	}
}

// What became of the orders stands on the first page, and what waits only while it is known.
func TestTheJourneysOnThePage(t *testing.T) {
	s := openSite(t, healthyBank(), surroundings())
	if text := s.read(t, "/", http.StatusOK); !strings.Contains(text, "Nothing is probed.") || !strings.Contains(text, "No orders are followed.") {
		t.Errorf("without both: %s", text)
	}
	own, err := journeysStore(t)
	if err != nil {
		t.Fatal(err)
	}
	r := telemetrytest.New(t, Name, journeys.Catalogue())
	ledger, err := journeys.Open(t.Context(), journeys.Config{Store: own, Telemetry: r.Telemetry, Log: r.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	s.page.way.orders.Store(ledger)
	text := s.read(t, "/", http.StatusOK)
	for _, want := range []string{"What waits", "the topics were last read to their end", "none yet"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if err := ledger.Close(); err != nil {
		t.Error(err)
	}
	all := map[journeys.Outcome]int64{journeys.InTime: 12, journeys.DeadLettered: 1, journeys.Lost: 0}
	if got := outcomesText(all).String(); got != "12 in time, 1 dead lettered" {
		t.Errorf("said as %q", got)
	}
}

func journeysStore(t *testing.T) (*storage.Store, error) {
	t.Helper()
	own, err := fs.Sub(journeys.Migrations(), "migrations")
	if err != nil {
		return nil, err
	}
	s, err := storage.Open(t.Context(), "sqlite:"+t.TempDir(), Name, own)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, nil
}
