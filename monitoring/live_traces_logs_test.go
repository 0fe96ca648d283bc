//go:build integration && unix

package monitoring_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/vigie-dev/vigie/monitoring/internal/stack"
)

// logsAreOfTraces looks at what the services wrote themselves and at what the
// Collector got of it.
func logsAreOfTraces(t *testing.T, s *stack.Tracing, orders []stack.Placed) {
	for service, message := range map[string]string{"commande": "order created", "paiement": "payment decided"} {
		eventually(t, func(context.Context) error {
			return sameTraces(service+"'s log", orders, written(s.Processes[service].Output(), message))
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
