//go:build integration && unix

package monitoring_test

import (
	"testing"

	"github.com/vigie-dev/vigie/monitoring/internal/stack"
)

// metricsAreWhole compares the services' metrics with what was sent.
func metricsAreWhole(t *testing.T, s *stack.Tracing, sent int) {
	t.Helper()
	for _, c := range []struct{ service, metric string }{
		{"commande", "orders_total"}, {"paiement", "payments_total"}, {"commande", "kafka_messages_produced_total"},
		{"paiement", "kafka_messages_produced_total"}, {"analyseur", "kafka_messages_consumed_total"},
	} {
		page, err := metricsOf(t.Context(), s.Services[c.service])
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
	for name, address := range s.Services {
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
	for name, address := range s.Services {
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
