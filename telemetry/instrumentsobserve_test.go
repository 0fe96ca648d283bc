package telemetry_test

import (
	"context"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func TestObserveSeveral(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	names := []string{telemetry.KafkaClientRecordsSentTotal, telemetry.KafkaClientRequestsInFlight}
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
		"orders_lost_total": "not in the catalogue", telemetry.KafkaMessageProcessingDuration: "is a histogram",
	} {
		if _, err := r.Instruments().Observe([]string{name}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", name, err, want)
		}
	}
	if _, err := r.Instruments().Int64ObservableSum(telemetry.HTTPRequestsTotal, nil); err == nil {
		t.Error("a counter can be registered as a gauge")
	}
}

func TestObservableSumAddsUp(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	topic := metric.WithAttributes(attribute.String("topic", "in"))
	for _, n := range []int64{2, 3} {
		_, err := r.Instruments().Int64ObservableSum(telemetry.KafkaConsumerAssignedPartitions,
			func(_ context.Context, o metric.Int64Observer) error { o.Observe(n, topic); return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // a reading does not change the next
		if got := r.Metric(telemetry.KafkaConsumerAssignedPartitions, nil); got != 5 {
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
	_, err := r.Instruments().Int64ObservableGauge(telemetry.KafkaConsumerLag, func(_ context.Context, o metric.Int64Observer) error {
		for i := range 3000 {
			o.Observe(int64(i), label(i))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Instruments().Float64ObservableGauge(telemetry.KafkaConsumerLagSeconds, func(_ context.Context, o metric.Float64Observer) error {
		for i := range 3000 {
			o.Observe(float64(i), label(i))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, name := range []string{telemetry.KafkaConsumerLag, telemetry.KafkaConsumerLagSeconds} {
			if n := r.Series(name, nil); n != 1500 {
				t.Errorf("%s has %d series, want 1500", name, n)
			}
		}
	}
	r.CheckCatalogue()
}
