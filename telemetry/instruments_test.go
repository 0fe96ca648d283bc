package telemetry_test

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func TestInstrumentsRefuseWhatTheCatalogueDoesNotSay(t *testing.T) {
	r := telemetrytest.New(t, "a", ownMetrics())
	makers := map[telemetry.Kind][]func(string) error{
		telemetry.Counter: {
			func(name string) error { _, err := r.Instruments().Int64Counter(name); return err },
			func(name string) error { _, err := r.Instruments().Float64Counter(name); return err },
		},
		telemetry.Histogram: {func(name string) error { _, err := r.Instruments().Float64Histogram(name); return err }},
		telemetry.Gauge: {
			func(name string) error { _, err := r.Instruments().Int64ObservableGauge(name, nil); return err },
			func(name string) error { _, err := r.Instruments().Float64ObservableGauge(name, nil); return err },
		},
	}
	names := map[telemetry.Kind]string{
		telemetry.Counter: "payments_total", telemetry.Histogram: "order_amount_euros", telemetry.Gauge: "kafka_consumer_lag",
	}
	for kind, list := range makers {
		for i, build := range list {
			if err := build("orders_lost_total"); err == nil || !strings.Contains(err.Error(), "not in the catalogue") {
				t.Errorf("%s maker %d, unknown name: %v", kind, i, err)
			}
			for other, name := range names {
				if other == kind {
					continue
				}
				if err := build(name); err == nil || !strings.Contains(err.Error(), "is a "+other.String()) {
					t.Errorf("%s maker %d, name of a %s: %v", kind, i, other, err)
				}
			}
		}
	}
}

func TestObservableGauge(t *testing.T) {
	r := telemetrytest.New(t, "a", nil)
	labels := metric.WithAttributes()
	whole, err := r.Instruments().Int64ObservableGauge(telemetry.KafkaConsumerLag,
		func(_ context.Context, o metric.Int64Observer) error { o.Observe(5, labels); return nil })
	if err != nil {
		t.Fatal(err)
	}
	part, err := r.Instruments().Float64ObservableGauge(telemetry.KafkaConsumerLagSeconds,
		func(_ context.Context, o metric.Float64Observer) error { o.Observe(0.5, labels); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Metric(telemetry.KafkaConsumerLag, nil); got != 5 {
		t.Errorf("whole gauge is %v, want 5", got)
	}
	if got := r.Metric(telemetry.KafkaConsumerLagSeconds, nil); got != 0.5 {
		t.Errorf("fractional gauge is %v, want 0.5", got)
	}
	for _, registration := range []metric.Registration{whole, part} {
		if err := registration.Unregister(); err != nil {
			t.Error(err)
		}
	}
	if n := r.Series(telemetry.KafkaConsumerLag, nil) + r.Series(telemetry.KafkaConsumerLagSeconds, nil); n != 0 {
		t.Errorf("%d series are left after Unregister", n)
	}
}

func TestProcessMetrics(t *testing.T) {
	r := telemetrytest.New(t, "a", nil)
	memory := func(kind string) float64 {
		return r.Metric(telemetry.ProcessMemoryUsageBytes, map[string]string{"type": kind})
	}
	const tooMuch = 1 << 40
	for _, kind := range []string{"rss", "heapTotal", "heapUsed", "external"} {
		if got := memory(kind); got < 1<<10 || got > tooMuch {
			t.Errorf("%s is %v bytes", kind, got)
		}
	}
	if r.Series(telemetry.ProcessMemoryUsageBytes, nil) != 4 {
		t.Error("want exactly four types of memory")
	}
	runtime.GC() // so that what others left does not go between the two readings
	before := memory("heapUsed")
	block := make([]byte, 64<<20)
	if after := memory("heapUsed"); after < before+32<<20 {
		t.Errorf("heapUsed went from %v to %v with %d bytes more", before, after, len(block))
	}
	block[len(block)-1] = 1 // keeps the block alive until here
	first := r.Metric(telemetry.ProcessUptimeSeconds, nil)
	if second := r.Metric(telemetry.ProcessUptimeSeconds, nil); first < 0 || second <= first || second > 3600 {
		t.Errorf("uptime went from %v to %v", first, second)
	}
}
