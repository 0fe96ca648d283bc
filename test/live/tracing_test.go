//go:build integration && unix

package live_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/zipkin/zipkinv2"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/vigie-dev/vigie/internal/testenv/servers"
	"github.com/vigie-dev/vigie/internal/testenv/stack"
	"github.com/vigie-dev/vigie/internal/testenv/system"
)

// The shipped configuration of the Collector between the services and Jaeger.
// The parts share one system, and each comes after those whose orders it
// counts.
func TestLiveTraces(t *testing.T) {
	s := stack.StartTracing(t)
	orders := s.Place(t, 100, 4)
	t.Run("an order is one trace", func(t *testing.T) { ordersAreTraces(t, s, orders) })
	t.Run("a log line leads to its trace", func(t *testing.T) { logsAreOfTraces(t, s, orders) })
	t.Run("an exemplar leads to its trace", func(t *testing.T) { exemplarsAreTraces(t, s) })
	t.Run("spans are counted for Prometheus", func(t *testing.T) { spansAreMetrics(t, s, len(orders)) })
	t.Run("nothing says who ordered", func(t *testing.T) { nobodyIsNamed(t, s) })
	t.Run("Zipkin takes the spans", func(t *testing.T) { zipkinTakesSpans(t, s, orders) })
	t.Run("orders do not depend on the Collector", func(t *testing.T) { collectorIsNotNeeded(t, s, len(orders)) })
}

// An edge leads from a span of a service to one of another's. Both results of
// a payment have their own topics.
type edge struct {
	from, to       string
	sent, received []string // names of spans
}

func edges() []edge {
	order, payment := []string{"process orders.created"}, []string{"process payments.authorized", "process payments.rejected"}
	send := []string{"send orders.created"}
	return []edge{
		{"commande", "paiement", send, order},
		{"commande", "suivi", send, order},
		{"paiement", "suivi", order, payment},
		{"paiement", "analyseur", order, payment},
	}
}

func ordersAreTraces(t *testing.T, s *stack.Tracing, orders []stack.Placed) {
	var last *stack.Trace
	seen := map[string]bool{}
	for _, order := range orders {
		if seen[order.TraceID] {
			t.Errorf("two orders have the trace %s", order.TraceID)
		}
		seen[order.TraceID] = true
		eventually(t, func(ctx context.Context) error {
			trace, err := s.Trace(ctx, order.TraceID)
			if err != nil {
				return err
			}
			last = trace
			return complete(trace)
		})
	}
	for i, span := range last.Spans {
		lacking := *last
		lacking.Spans = slices.Delete(slices.Clone(last.Spans), i, i+1)
		if strings.HasPrefix(span.OperationName, "process ") && complete(&lacking) == nil {
			t.Errorf("a trace without %s of %s passes for complete", span.OperationName, last.Service(span))
		}
	}
	t.Logf("%d orders, %d complete traces", len(orders), len(seen))
}

// complete says what a trace lacks: it begins with the request and nowhere
// else, no span lacks its parent, and every edge of Kafka is there.
func complete(trace *stack.Trace) error {
	var errs []error
	request := trace.Named("commande", "POST /orders")
	for _, span := range trace.Spans {
		parent, whole := trace.Parent(span)
		if first := parent == nil && len(request) == 1 && span == request[0]; !whole || parent == nil && !first {
			errs = append(errs, fmt.Errorf("trace %s: %s of %s has no parent", trace.TraceID, span.OperationName, trace.Service(span)))
		}
	}
	for _, e := range edges() {
		sent, received := trace.Named(e.from, e.sent...), trace.Named(e.to, e.received...)
		if len(received) == 0 {
			errs = append(errs, fmt.Errorf("trace %s: %s does not %v", trace.TraceID, e.to, e.received))
		}
		for _, span := range received {
			parent, _ := trace.Parent(span)
			if parent == nil || trace.Service(parent) != e.from || !trace.Below(span, sent) {
				errs = append(errs, fmt.Errorf("trace %s: %s of %s does not come from %s", trace.TraceID, span.OperationName, e.to, e.from))
			}
		}
	}
	return errors.Join(errs...)
}

// logsAreOfTraces looks at what the services wrote themselves and at what the
// Collector got of it.
func logsAreOfTraces(t *testing.T, s *stack.Tracing, orders []stack.Placed) {
	for service, message := range map[string]string{"commande": "order created", "paiement": "payment decided"} {
		eventually(t, func(context.Context) error {
			return sameTraces(service+"'s log", orders, written(logOf(t, s.System.Service(service).Program), message))
		})
		eventually(t, func(context.Context) error {
			exported, err := exportedLogs(s.Collector.Logs, service, message)
			return errors.Join(err, sameTraces(service+"'s exported log", orders, exported))
		})
	}
	// ordersAreTraces has found these traces in Jaeger.
}

// sameTraces compares the traces that log lines name with those of the orders.
func sameTraces(what string, orders []stack.Placed, traces map[string]string) error {
	for _, order := range orders {
		if got := traces[order.OrderID]; got != order.TraceID {
			return fmt.Errorf("%s has order %s in trace %q, want %s; it has %d orders", what, order.OrderID, got, order.TraceID, len(traces))
		}
	}
	return nil
}

// written maps the orders of a service's log lines to their traces.
func written(log, message string) map[string]string {
	traces := map[string]string{}
	for line := range strings.Lines(log) {
		var record struct {
			Msg     string
			OrderID string `json:"order_id"`
			TraceID string `json:"trace_id"`
		}
		if json.Unmarshal([]byte(line), &record) == nil && record.Msg == message {
			traces[record.OrderID] = record.TraceID
		}
	}
	return traces
}

// exportedLogs is written, of the file that the Collector writes.
func exportedLogs(path, service, message string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	traces := map[string]string{}
	for line := range bytes.Lines(text) {
		batch, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(line)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		for _, resource := range batch.ResourceLogs().All() {
			about := resource.Resource().Attributes()
			// The data set is what elasticsearch.yaml adds.
			if attribute(about, "service.name") != service || attribute(about, "data_stream.dataset") != "vigie" {
				continue
			}
			for _, scope := range resource.ScopeLogs().All() {
				for _, record := range scope.LogRecords().All() {
					if record.Body().AsString() == message {
						traces[attribute(record.Attributes(), "order_id")] = record.TraceID().String()
					}
				}
			}
		}
	}
	return traces, nil
}

func attribute(attributes pcommon.Map, key string) string {
	value, ok := attributes.Get(key)
	if !ok {
		return ""
	}
	return value.AsString()
}

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
		`count(count by (service_name) (traces_span_metrics_calls_total))`:                len(system.Services()),
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
	for _, name := range system.Services() {
		signals[name+"'s log"] = logOf(t, s.System.Service(name).Program)
		signals[name+"'s metrics"] = fetch(t, s.System.URL(name)+"/metrics")
	}
	for _, path := range []string{s.Collector.Spans, s.Collector.Logs} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		signals[path] = string(text)
	}
	// At level info, the two that only show orders log none.
	quiet := []string{system.Suivi + "'s log", system.Analyseur + "'s log"}
	for what, text := range signals {
		if strings.Contains(text, stack.Marker) {
			t.Errorf("%s names the user of an order", what)
		}
		if text == "" && !slices.Contains(quiet, what) {
			t.Errorf("%s is empty", what)
		}
	}
}

// zipkinTakesSpans does the work of the Collector's exporter for Zipkin, which
// the Collector of the tests lacks: what the Collector exported elsewhere goes
// through the exporter's own translation to a real Zipkin, and comes back as
// whole traces.
func zipkinTakesSpans(t *testing.T, s *stack.Tracing, orders []stack.Placed) {
	zipkin := servers.StartZipkin(t)
	want := map[string]int{} // spans by trace
	exported, err := exportedSpans(s.Collector.Spans)
	if err != nil || len(exported) == 0 {
		t.Fatalf("the Collector exported %d batches, %v", len(exported), err)
	}
	for _, traces := range exported {
		spans, err := zipkinv2.FromTranslator{}.FromTraces(traces)
		if err != nil {
			t.Fatal(err)
		}
		for _, span := range spans {
			want[span.TraceID.String()]++
		}
		text, err := json.Marshal(spans)
		if err != nil {
			t.Fatal(err)
		}
		post(t, zipkin.URL("/api/v2/spans"), text)
	}
	for _, order := range orders {
		eventually(t, func(ctx context.Context) error {
			var spans []struct{ ID string }
			if err := stack.Get(ctx, zipkin.URL("/api/v2/trace/"+order.TraceID), &spans); err != nil {
				return err
			}
			if len(spans) != want[order.TraceID] || len(spans) == 0 {
				return fmt.Errorf("trace %s has %d spans in Zipkin, want %d", order.TraceID, len(spans), want[order.TraceID])
			}
			return nil
		})
	}
}

// exportedSpans reads the file that the Collector writes.
func exportedSpans(path string) ([]ptrace.Traces, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []ptrace.Traces
	for line := range bytes.Lines(text) {
		traces, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(line)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		all = append(all, traces)
	}
	return all, nil
}
