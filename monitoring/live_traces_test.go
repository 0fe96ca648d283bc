//go:build integration && unix

package monitoring_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/monitoring/internal/stack"
)

// The shipped configuration of the Collector between the services and Jaeger.
// The parts share one system, and each comes after those whose orders it
// counts.
func TestLiveTraces(t *testing.T) {
	s := stack.StartTracing(t, ".")
	orders := s.Place(t, 100, 4)
	t.Run("an order is one trace", func(t *testing.T) { ordersAreTraces(t, s, orders) })
	t.Run("a log line leads to its trace", func(t *testing.T) { logsAreOfTraces(t, s, orders) })
	t.Run("an exemplar leads to its trace", func(t *testing.T) { exemplarsAreTraces(t, s) })
	t.Run("spans are counted for Prometheus", func(t *testing.T) { spansAreMetrics(t, s, len(orders)) })
	t.Run("nothing tells who ordered", func(t *testing.T) { nobodyIsNamed(t, s) })
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

// complete tells what a trace lacks: it begins with the request and nowhere
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
