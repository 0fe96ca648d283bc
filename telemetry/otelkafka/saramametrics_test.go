package otelkafka

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rcrowley/go-metrics"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

func mark(registry metrics.Registry, name string, n int64) {
	metrics.GetOrRegisterMeter(name, registry).Mark(n)
}

func sample(registry metrics.Registry, name string, values ...int64) {
	histogram := metrics.GetOrRegisterHistogram(name, registry, metrics.NewExpDecaySample(1028, 0.015))
	for _, v := range values {
		histogram.Update(v)
	}
}

func observe(t *testing.T, i *Instrumentation, client string) (metrics.Registry, func()) {
	t.Helper()
	registry := metrics.NewRegistry()
	unregister, err := ObserveSarama(i, client, registry)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(registry.UnregisterAll) // stops the meters
	return registry, func() {
		t.Helper()
		if err := unregister(); err != nil {
			t.Error(err)
		}
	}
}

func TestSaramaMetricsAreInBaseUnits(t *testing.T) {
	r, inst := newInstrumentation(t, Options{})
	registry, unregister := observe(t, inst, "producer")
	mark(registry, "request-rate-for-broker-1", 7)
	mark(registry, "request-rate", 9)
	mark(registry, "consumer-fetch-rate-for-broker-1", 3)
	mark(registry, "outgoing-byte-rate-for-broker-1", 1000)
	mark(registry, "incoming-byte-rate-for-broker-1", 2000)
	metrics.GetOrRegisterCounter("requests-in-flight-for-broker-1", registry).Inc(2)
	sample(registry, "request-latency-in-ms-for-broker-1", 250)
	sample(registry, "throttle-time-in-ms-for-broker-1", 10, 20)
	sample(registry, "batch-size", 4096, 4096)
	sample(registry, "batch-size-for-topic-orders_created", 1)
	sample(registry, "records-per-request", 50)
	sample(registry, "compression-ratio", 430)
	mark(registry, "record-send-rate", 50)
	metrics.GetOrRegisterCounter("consumer-group-join-total-g-for-broker-9", registry).Inc(3)
	metrics.GetOrRegisterCounter("consumer-group-join-failed-g", registry).Inc(1)
	sample(registry, "request-latency-in-ms-for-broker-2") // nothing measured yet
	client := map[string]string{"client": "producer"}
	broker := map[string]string{"client": "producer", "broker": "1"}
	p99 := map[string]string{"client": "producer", "percentile": "99"}
	for _, want := range []struct {
		name   string
		labels map[string]string
		value  float64
	}{
		{catalogue.KafkaClientRequestsTotal, broker, 7},
		{catalogue.KafkaClientFetchesTotal, broker, 3},
		{catalogue.KafkaClientSentBytesTotal, broker, 1000},
		{catalogue.KafkaClientReceivedBytesTotal, broker, 2000},
		{catalogue.KafkaClientRequestsInFlight, broker, 2},
		{catalogue.KafkaClientRequestLatencySeconds, map[string]string{"broker": "1", "percentile": "50"}, 0.25},
		{catalogue.KafkaClientThrottledResponsesTotal, broker, 2},
		{catalogue.KafkaClientBatchesSentTotal, client, 2},
		{catalogue.KafkaClientBatchSizeBytes, p99, 4096},
		{catalogue.KafkaClientRecordsPerRequest, p99, 50},
		{catalogue.KafkaClientCompressionRatio, p99, 4.3},
		{catalogue.KafkaClientRecordsSentTotal, client, 50},
		{catalogue.KafkaClientGroupJoinsTotal, client, 3},
		{catalogue.KafkaClientGroupJoinFailuresTotal, client, 1},
	} {
		if got := r.Metric(want.name, want.labels); got != want.value {
			t.Errorf("%s%v is %v, want %v", want.name, want.labels, got, want.value)
		}
	}
	if n := r.Series(catalogue.KafkaClientRequestLatencySeconds, nil); n != 3 {
		t.Errorf("%d percentiles of latency, want 3: a broker without requests has none", n)
	}
	r.CheckCatalogue()
	for _, m := range catalogue.SaramaMetrics() {
		if r.Series(m.Name, nil) == 0 {
			t.Errorf("%s is declared and never on the page", m.Name)
		}
	}
	unregister()
	if strings.Contains(r.Page(), "kafka_client_") {
		t.Error("series are left after unregistering")
	}
}

// TestSaramaCountersOutliveConnections does what sarama does when a connection closes and opens again.
func TestSaramaCountersOutliveConnections(t *testing.T) {
	r, inst := newInstrumentation(t, Options{})
	registry, _ := observe(t, inst, "producer")
	const name = "request-rate-for-broker-1"
	requests := func() float64 { t.Helper(); return r.Metric(catalogue.KafkaClientRequestsTotal, nil) }
	inFlight := func() int { return r.Series(catalogue.KafkaClientRequestsInFlight, nil) }
	mark(registry, name, 5)
	metrics.GetOrRegisterCounter("requests-in-flight-for-broker-1", registry).Inc(1)
	if requests() != 5 || inFlight() != 1 {
		t.Errorf("%v requests, %d gauges; want 5 and 1", requests(), inFlight())
	}
	mark(registry, name, 2) // seen by no scrape before it closes
	registry.UnregisterAll()
	if requests() != 7 || inFlight() != 0 {
		t.Errorf("closed: %v requests, %d gauges; want 7 and none", requests(), inFlight())
	}
	mark(registry, name, 1)
	registry.Unregister(name)
	mark(registry, name, 4) // the one before came and went between two scrapes
	if requests() != 11 {
		t.Errorf("open again: %v requests, want 11", requests())
	}
	registry.Unregister(name)
	mark(registry, name, 1) // closed and open again between two scrapes
	if requests() != 12 {
		t.Errorf("open once more: %v requests, want 12", requests())
	}
}

func TestSaramaBrokersAreBounded(t *testing.T) {
	r, inst := newInstrumentation(t, Options{})
	const n = 1000 // twice the limit
	for _, client := range []string{"a", "b"} {
		registry, _ := observe(t, inst, client)
		for i := range n {
			mark(registry, fmt.Sprintf("request-rate-for-broker-%d", i), 1)
			metrics.GetOrRegisterCounter(fmt.Sprintf("requests-in-flight-for-broker-%d", i), registry).Inc(1)
			sample(registry, fmt.Sprintf("request-latency-in-ms-for-broker-%d", i), int64(3*i))
			sample(registry, fmt.Sprintf("batch-size-for-topic-t%d", i), 1)
			metrics.GetOrRegisterCounter(fmt.Sprintf("consumer-group-join-total-g%d", i), registry).Inc(1)
			mark(registry, fmt.Sprintf("request-rate-for-broker-evil%d", i), 1)
		}
	}
	for name, want := range map[string]float64{
		catalogue.KafkaClientRequestsTotal: 2 * n, catalogue.KafkaClientRequestsInFlight: 2 * n,
		catalogue.KafkaClientGroupJoinsTotal: 2 * n,
	} {
		if got := r.Metric(name, nil); got != want {
			t.Errorf("%s is %v over all, want %v", name, got, want)
		}
	}
	if got := r.Series(catalogue.KafkaClientRequestsTotal, nil); got != 502 {
		t.Errorf("%d series, want the first 500 brokers and one more for each client", got)
	}
	slowest := r.Metric(catalogue.KafkaClientRequestLatencySeconds, map[string]string{"client": "a", "broker": "_OTHER", "percentile": "99"})
	if slowest < 2 || slowest > 3 {
		t.Errorf("the others' latency is %v, want the slowest broker's", slowest)
	}
	r.CheckCatalogue()
}

func TestObserveSaramaRefusals(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	try := func(client string, registry metrics.Registry) error {
		_, err := ObserveSarama(inst, client, registry)
		return err
	}
	_, unregister := observe(t, inst, "c0")
	registry := metrics.NewRegistry()
	for client, want := range map[string]string{"c0": "already", "": "a name", "\xff": "a name"} {
		if err := try(client, registry); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("client %q: error %v, want one with %q", client, err, want)
		}
	}
	if err := try("c1", nil); err == nil {
		t.Error("a client without a registry is observed")
	}
	unregister()
	for i := range catalogue.MaxSaramaClients {
		if err := try(fmt.Sprint("c", i), registry); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	}
	if err := try("one too many", registry); err == nil {
		t.Error("more clients than the catalogue states are observed")
	}
}
