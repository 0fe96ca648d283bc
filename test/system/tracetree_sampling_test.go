//go:build !race || whole

package system_test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

// The trace that a client had sampled.
const (
	sampledTrace  = "0af7651916cd43dd8448eb211c80319c"
	sampledParent = "00-" + sampledTrace + "-b7ad6b7169203331-01"
)

// Where one order among many is sampled, its trace is whole, down to the batches
// that it shares with others, and nothing else leaves the process: neither
// monitors' requests nor batches that none of its records is in.
func TestTraceOfTheOneSampledOrder(t *testing.T) {
	c := &collector{}
	switchOn(t, c)
	t.Setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
	t.Setenv("OTEL_TRACES_SAMPLER_ARG", "0")
	s := bank.Start(t, t.TempDir(), "--log-level=error")
	const others = 60
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range others / 4 {
				if status, _, err := s.Order("user123", "1"); err != nil || status != http.StatusCreated {
					t.Errorf("POST /orders = %d, %v", status, err)
				}
			}
		})
	}
	if status, traceID := place(t, s, `{"userId":"user123","amount":1,"items":["item1"]}`, "traceparent: "+sampledParent); status != http.StatusCreated || traceID != sampledTrace {
		t.Errorf("POST /orders = %d in trace %s", status, traceID)
	}
	clients.Wait()
	s.Settled(t, others+1)
	for i := range others + 1 {
		s.Decided(t, fmt.Sprintf("order-%d", i+1))
	}
	ended(t, s.Program)
	names := map[string]int{}
	for _, sent := range c.spans(t) {
		if hex.EncodeToString(sent.TraceId) == sampledTrace {
			names[sent.service+": "+sent.Name]++
			continue
		}
		names["batches"]++
		if len(sent.ParentSpanId) != 0 || len(sent.Links) != 1 || hex.EncodeToString(sent.Links[0].TraceId) != sampledTrace {
			t.Errorf("%s: %s of another trace links %v", sent.service, sent.Name, sent.Links)
		}
	}
	text := newForest(c.spans(t)).story(sampledTrace)
	if strings.Count(text, "nowhere") != 1 { // the client's own span
		t.Errorf("the trace is not whole:\n%s", text)
	}
	for _, name := range []string{
		"commande: POST /orders", "commande: send orders.created", "paiement: process orders.created", "paiement: store orders.created",
		"paiement: publish", "suivi: process orders.created", "suivi: store orders.created",
	} {
		if names[name] != 1 {
			t.Errorf("%d spans %q, want 1", names[name], name)
		}
	}
	if len(names) != 12 || names["batches"] != 5 {
		t.Errorf("spans %v, want 11 names in the trace, and 5 batches", names)
	}
}

// Monitors' requests make no traces; they are counted all the same.
func TestTracesAreNotMonitors(t *testing.T) {
	c := &collector{}
	switchOn(t, c)
	s := bank.Start(t, t.TempDir(), "--log-level=error")
	for name, url := range s.URLs {
		bank.Get(t, url+"/health")
		bank.Eventually(t, func() error {
			if status, body := bank.Get(t, url+"/health/ready"); status != http.StatusOK {
				return fmt.Errorf("%s is not ready: %s", name, body)
			}
			return nil
		})
		bank.Get(t, url+"/") // this one is a user's
		_, all := bank.Scrape(t, url)
		for _, route := range []string{"/health", "/health/ready"} {
			if n := all[`http_requests_total{method="GET",route="`+route+`",service="`+name+`",status_code="200"}`]; n < 1 {
				t.Errorf("%s has counted %v requests of %s", name, n, route)
			}
		}
	}
	ended(t, s.Program)
	var names []string
	for _, sent := range c.spans(t) {
		names = append(names, sent.service+" "+sent.Name)
		if sent.Name != "GET /" && sent.Name != "GET /{$}" {
			t.Errorf("%s made the span %s", sent.service, sent.Name)
		}
	}
	if len(names) != len(s.URLs) {
		t.Errorf("spans %v, want one of each service", names)
	}
}
