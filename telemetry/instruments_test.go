package telemetry_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
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
	whole, err := r.Instruments().Int64ObservableGauge(catalogue.KafkaConsumerLag,
		func(_ context.Context, o metric.Int64Observer) error { o.Observe(5, labels); return nil })
	if err != nil {
		t.Fatal(err)
	}
	part, err := r.Instruments().Float64ObservableGauge(catalogue.KafkaConsumerLagSeconds,
		func(_ context.Context, o metric.Float64Observer) error { o.Observe(0.5, labels); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Metric(catalogue.KafkaConsumerLag, nil); got != 5 {
		t.Errorf("whole gauge is %v, want 5", got)
	}
	if got := r.Metric(catalogue.KafkaConsumerLagSeconds, nil); got != 0.5 {
		t.Errorf("fractional gauge is %v, want 0.5", got)
	}
	for _, registration := range []metric.Registration{whole, part} {
		if err := registration.Unregister(); err != nil {
			t.Error(err)
		}
	}
	if n := r.Series(catalogue.KafkaConsumerLag, nil) + r.Series(catalogue.KafkaConsumerLagSeconds, nil); n != 0 {
		t.Errorf("%d series are left after Unregister", n)
	}
}

func TestProcessMetrics(t *testing.T) {
	r := telemetrytest.New(t, "a", nil)
	memory := func(kind string) float64 {
		return r.Metric(catalogue.ProcessMemoryUsageBytes, map[string]string{"type": kind})
	}
	const tooMuch = 1 << 40
	for _, kind := range []string{"rss", "heapTotal", "heapUsed", "external"} {
		if got := memory(kind); got < 1<<10 || got > tooMuch {
			t.Errorf("%s is %v bytes", kind, got)
		}
	}
	if r.Series(catalogue.ProcessMemoryUsageBytes, nil) != 4 {
		t.Error("want exactly four types of memory")
	}
	runtime.GC() // so that what others left does not go between the two readings
	before := memory("heapUsed")
	block := make([]byte, 64<<20)
	if after := memory("heapUsed"); after < before+32<<20 {
		t.Errorf("heapUsed went from %v to %v with %d bytes more", before, after, len(block))
	}
	block[len(block)-1] = 1 // keeps the block alive until here
	first := r.Metric(catalogue.ProcessUptimeSeconds, nil)
	if second := r.Metric(catalogue.ProcessUptimeSeconds, nil); first < 0 || second <= first || second > 3600 {
		t.Errorf("uptime went from %v to %v", first, second)
	}
}

func TestObserveSeveral(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	names := []string{catalogue.KafkaClientRecordsSentTotal, catalogue.KafkaClientRequestsInFlight}
	client := metric.WithAttributes(attribute.String("client", "c"))
	broker := metric.WithAttributes(attribute.String("client", "c"), attribute.String("broker", "1"))
	read := func(_ context.Context, o telemetry.Observation) error {
		o.Counter(names[0], 7, client)
		o.Gauge(names[1], 2.5, broker)
		o.Counter("not_registered_total", 1)
		o.Gauge(names[0], 1)
		return nil
	}
	first, err := r.Instruments().Observe(names, read)
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.Instruments().Observe(names, read)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Metric(names[0], nil); got != 14 {
		t.Errorf("two sources of 7 make %v, want 14", got)
	}
	if got := r.Metric(names[1], nil); got != 2.5 {
		t.Errorf("gauge is %v, want 2.5", got)
	}
	r.CheckCatalogue()
	for _, registration := range []metric.Registration{first, second} {
		if err := registration.Unregister(); err != nil {
			t.Error(err)
		}
	}
	if n := r.Series(names[0], nil) + r.Series(names[1], nil); n != 0 {
		t.Errorf("%d series are left after Unregister", n)
	}
}

func TestObserveRefusesWhatTheCatalogueDoesNotSay(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	for name, want := range map[string]string{
		"orders_lost_total": "not in the catalogue", catalogue.KafkaMessageProcessingDuration: "is a histogram",
	} {
		if _, err := r.Instruments().Observe([]string{name}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", name, err, want)
		}
	}
	if _, err := r.Instruments().Int64ObservableSum(catalogue.HTTPRequestsTotal, nil); err == nil {
		t.Error("a counter can be registered as a gauge")
	}
	if _, err := r.Instruments().Int64ObservableSum(catalogue.KafkaConsumerLag, nil); err == nil || !strings.Contains(err.Error(), "sum") {
		t.Errorf("a gauge that is not declared as a sum is registered as one: %v", err)
	}
}

func TestObservableSumAddsUp(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	topic := metric.WithAttributes(attribute.String("topic", "in"))
	for _, n := range []int64{2, 3} {
		_, err := r.Instruments().Int64ObservableSum(catalogue.KafkaConsumerAssignedPartitions,
			func(_ context.Context, o metric.Int64Observer) error { o.Observe(n, topic); return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // a reading does not change the next
		if got := r.Metric(catalogue.KafkaConsumerAssignedPartitions, nil); got != 5 {
			t.Errorf("sources of 2 and 3 make %v, want 5", got)
		}
	}
	r.CheckCatalogue()
}

func TestGaugesKeepToTheirSeries(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	label := func(i int) metric.ObserveOption {
		return metric.WithAttributes(attribute.String("topic", "in"), attribute.Int("partition", i))
	}
	_, err := r.Instruments().Int64ObservableGauge(catalogue.KafkaConsumerLag, func(_ context.Context, o metric.Int64Observer) error {
		for i := range 3000 {
			o.Observe(int64(i), label(i))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Instruments().Float64ObservableGauge(catalogue.KafkaConsumerLagSeconds, func(_ context.Context, o metric.Float64Observer) error {
		for i := range 3000 {
			o.Observe(float64(i), label(i))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, name := range []string{catalogue.KafkaConsumerLag, catalogue.KafkaConsumerLagSeconds} {
			if n := r.Series(name, nil); n != 1500 {
				t.Errorf("%s has %d series, want 1500", name, n)
			}
		}
	}
	r.CheckCatalogue()
}

func TestBudgetAdmitsTheFirst(t *testing.T) {
	r := telemetrytest.New(t, "shop", telemetry.Catalogue{
		{Name: "jobs_total", Kind: telemetry.Counter, Help: "Jobs.", Labels: []string{"queue"}, Bound: "three queues", MaxSeries: 4},
	})
	b := r.Instruments().Budget("jobs_total", 1)
	for _, set := range [][]string{{"a"}, {"b"}, {"a", "b"}} {
		if !b.Admit(set...) {
			t.Errorf("%q is refused with room left", set)
		}
	}
	for _, set := range [][]string{{"ab"}, {""}, {"b", "a"}, {"\xff"}, {strings.Repeat("x", 1025)}} {
		if b.Admit(set...) {
			t.Errorf("%q is admitted beyond the budget", set)
		}
	}
	if !b.Admit("a") || r.Instruments().Budget("jobs_total", 0) != b {
		t.Error("the budget forgets, or is not shared")
	}
	if r.Instruments().Budget("nothing_total", 0).Admit("a") {
		t.Error("a metric that is not in the catalogue has room")
	}
}

func TestBudgetRefusesMalformedValues(t *testing.T) {
	b := telemetrytest.New(t, "shop", nil).Instruments().Budget(catalogue.HTTPRequestsTotal, 0)
	if b.Admit("GET", "\xff\xfe") || b.Admit(strings.Repeat("x", 1025)) {
		t.Error("a value that Prometheus could not show, or of any length, is admitted")
	}
}

func TestBudgetHoldsUnderConcurrency(t *testing.T) {
	b := telemetrytest.New(t, "shop", nil).Instruments().Budget(catalogue.KafkaMessagesProducedTotal, 1)
	var admitted atomic.Int64
	var wait sync.WaitGroup
	for worker := range 4 {
		wait.Go(func() {
			for i := range 1000 {
				if b.Admit(fmt.Sprint(worker, i)) {
					admitted.Add(1)
				}
			}
		})
	}
	wait.Wait()
	if admitted.Load() != 200 {
		t.Errorf("%d topics are admitted, want 200", admitted.Load())
	}
}
