//go:build integration && unix

package live_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/testenv/stack"
)

const (
	rounds = 3
	// perPhase orders make more spans in suivi, some four each, than the 2048
	// that wait by default: what the Collector does not take is dropped.
	perPhase = 600
	clients  = 8
	// mostGrowth bounds what a service's memory grows by, in bytes. Full queues
	// of spans and log records are some 10 MB.
	mostGrowth = 128 << 20
)

// phase is how orders went with the Collector in one state.
type phase struct {
	acknowledged, decided float64 // orders a second
	median, slow          time.Duration
}

// collectorIsNotNeeded places orders with the Collector well, killed and
// stalled in turn. Time is measured and not judged: what is said of it holds on
// a machine that does nothing else.
func collectorIsNotNeeded(t *testing.T, s *stack.Tracing, before int) {
	sent, memory, results := before, memoryOf(t, s), map[string][]phase{}
	states := []string{"well", "killed", "stalled"}
	for i := range rounds {
		for j := range states {
			state := states[(i+j)%len(states)] // none always follows the same
			disturb(t, s, state)
			results[state] = append(results[state], underLoad(t, s, sent))
			sent += perPhase
			restore(t, s, state)
			sent++ // the order that shows that all is well again
		}
	}
	report(t, results)
	metricsAreWhole(t, s, sent)
	lossesAreCounted(t, s)
	for name, now := range memoryOf(t, s) {
		t.Logf("%s: %.0f MB before, %.0f MB after", name, memory[name]/1e6, now/1e6)
		if now > memory[name]+mostGrowth {
			t.Errorf("the memory of %s grew from %.0f to %.0f MB", name, memory[name]/1e6, now/1e6)
		}
	}
}

// report logs every phase, and what the rounds say together.
func report(t *testing.T, results map[string][]phase) {
	t.Helper()
	middle := func(state string) float64 {
		var rates []float64
		for _, p := range results[state] {
			rates = append(rates, p.acknowledged)
		}
		slices.Sort(rates)
		return rates[len(rates)/2]
	}
	for _, state := range slices.Sorted(maps.Keys(results)) {
		for _, p := range results[state] {
			t.Logf("Collector %s: %v", state, p)
		}
		t.Logf("Collector %s: the median round has %.0f/s, ×%.2f of that with the Collector well", state, middle(state), middle(state)/middle("well"))
	}
}

func (p phase) String() string {
	return fmt.Sprintf("%.0f/s acknowledged (median %v, 99 of 100 in %v), %.0f/s decided", p.acknowledged,
		p.median.Round(time.Millisecond/10), p.slow.Round(time.Millisecond/10), p.decided)
}

func disturb(t *testing.T, s *stack.Tracing, state string) {
	t.Helper()
	switch state {
	case "killed":
		s.Collector.Kill()
	case "stalled":
		if err := s.Collector.Freeze(); err != nil {
			t.Fatal(err)
		}
	}
}

// restore brings the Collector back, and waits until a trace arrives again.
func restore(t *testing.T, s *stack.Tracing, state string) {
	t.Helper()
	switch state {
	case "killed":
		s.Collector.Restart(t)
	case "stalled":
		if err := s.Collector.Thaw(); err != nil {
			t.Fatal(err)
		}
	}
	order := s.Place(t, 1, 1)[0]
	eventually(t, func(ctx context.Context) error {
		_, err := s.Trace(ctx, order.TraceID)
		return err
	})
}

// underLoad places orders, each of which must be acknowledged, and waits until
// all are decided, before of which were there already.
func underLoad(t *testing.T, s *stack.Tracing, before int) phase {
	t.Helper()
	began := time.Now()
	placed := s.Place(t, perPhase, clients)
	acknowledged := time.Since(began)
	s.AwaitDecided(t, before+perPhase)
	decided := time.Since(began)
	slices.SortFunc(placed, func(a, b stack.Placed) int { return int(a.Took - b.Took) })
	return phase{
		perPhase / acknowledged.Seconds(), perPhase / decided.Seconds(),
		placed[perPhase/2].Took, placed[perPhase*99/100].Took,
	}
}

// metricsAreWhole compares the services' metrics with what was sent.
func metricsAreWhole(t *testing.T, s *stack.Tracing, sent int) {
	t.Helper()
	for _, c := range []struct{ service, metric string }{
		{"commande", "orders_total"}, {"paiement", "payments_total"}, {"commande", "kafka_messages_produced_total"},
		{"paiement", "kafka_messages_produced_total"}, {"analyseur", "kafka_messages_consumed_total"},
	} {
		page, err := metricsOf(t.Context(), s.Addresses()[c.service])
		if err != nil {
			t.Fatal(err)
		}
		if got := total(page, c.metric, nil); got != float64(sent) {
			t.Errorf("%s of %s is %v, want %d", c.metric, c.service, got, sent)
		}
	}
}

// lossesAreCounted: more spans were made than can wait.
func lossesAreCounted(t *testing.T, s *stack.Tracing) {
	t.Helper()
	var dropped float64
	for name, address := range s.Addresses() {
		page, err := metricsOf(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		n := total(page, "otel_spans_dropped_total", nil)
		t.Logf("%s dropped %v spans, %v log records", name, n, total(page, "otel_log_records_dropped_total", nil))
		dropped += n
	}
	if dropped == 0 {
		t.Error("no span counts as dropped")
	}
}

// memoryOf is each service's resident memory, in bytes.
func memoryOf(t *testing.T, s *stack.Tracing) map[string]float64 {
	t.Helper()
	memory := map[string]float64{}
	for name, address := range s.Addresses() {
		page, err := metricsOf(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		memory[name] = total(page, "process_memory_usage_bytes", map[string]string{"type": "rss"})
		if memory[name] == 0 {
			t.Fatalf("%s does not say what memory it uses", name)
		}
	}
	return memory
}
