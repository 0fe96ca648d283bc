//go:build integration && unix

package monitoring_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/monitoring/internal/stack"
)

// exemplarsAreTraces follows exemplars of the services' histograms and of those
// that the Collector makes of spans, as Prometheus has them.
func exemplarsAreTraces(t *testing.T, s *stack.Tracing) {
	for _, selector := range []string{
		`http_request_duration_seconds_bucket{service="commande",route="/orders"}`,
		`kafka_message_processing_duration_seconds_bucket{service="paiement"}`,
		`kafka_message_processing_duration_seconds_bucket{service="suivi"}`,
		`kafka_message_processing_duration_seconds_bucket{service="analyseur"}`,
		`traces_span_metrics_duration_seconds_bucket`,
	} {
		eventually(t, func(ctx context.Context) error {
			ids, err := exemplars(ctx, s, selector)
			if err == nil && len(ids) == 0 {
				err = fmt.Errorf("%s has no exemplar", selector)
			}
			for _, id := range ids {
				if err == nil {
					_, err = s.Trace(ctx, id)
				}
			}
			return err
		})
	}
}

// exemplars are the traces that exemplars name.
func exemplars(ctx context.Context, s *stack.Tracing, selector string) ([]string, error) {
	var series []struct {
		Exemplars []struct{ Labels map[string]string }
	}
	if err := s.API(ctx, "/api/v1/query_exemplars?start=0&end=4000000000&query="+url.QueryEscape(selector), &series); err != nil {
		return nil, err
	}
	var ids []string
	for _, one := range series {
		for _, exemplar := range one.Exemplars {
			ids = append(ids, exemplar.Labels["trace_id"])
		}
	}
	return ids, nil
}

// spansAreMetrics looks for what the Collector makes of the spans. The first
// value of a series of calls is 0, whatever it counts; those of durations are
// right from the start.
func spansAreMetrics(t *testing.T, s *stack.Tracing, orders int) {
	const count = "traces_span_metrics_duration_seconds_count"
	for query, want := range map[string]int{
		count + `{service_name="commande",span_name="POST /orders"}`:                      orders,
		count + `{service_name="paiement",span_name="process orders.created"}`:            orders,
		`sum(` + count + `{service_name="analyseur",span_name=~"process payments[.].*"})`: orders,
		`count(count by (service_name) (traces_span_metrics_calls_total))`:                len(s.Services),
		`sum(otelcol_exporter_send_failed_spans_total) or vector(0)`:                      0,
		`sum(otel_spans_dropped_total)`:                                                   0,
	} {
		eventually(t, func(ctx context.Context) error {
			samples, err := s.Query(ctx, query)
			if err != nil || len(samples) != 1 || samples[0].Value[1] != fmt.Sprint(want) {
				return fmt.Errorf("%s: %v, want %d, %w", query, samples, want, err)
			}
			return nil
		})
	}
}

// nobodyIsNamed looks for the orders' user in everything that leaves a service.
func nobodyIsNamed(t *testing.T, s *stack.Tracing) {
	signals := map[string]string{}
	for name, process := range s.Processes {
		signals[name+"'s log"] = process.Output()
		signals[name+"'s metrics"] = fetch(t, "http://"+s.Services[name]+"/metrics")
	}
	for _, path := range []string{s.Collector.Spans, s.Collector.Logs} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		signals[path] = string(text)
	}
	for what, text := range signals {
		if text == "" || strings.Contains(text, stack.Marker) {
			t.Errorf("%s is empty or names the user of an order", what)
		}
	}
}
