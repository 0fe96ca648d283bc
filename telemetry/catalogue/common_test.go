package catalogue_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/otlptranslator"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/semconv/v1.43.0/httpconv"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

// convention is what the generated code of the pinned version says of a metric.
type convention interface {
	Name() string
	Unit() string
	Description() string
}

// collected feeds every metric of the catalogue and returns what an OTLP exporter would be given.
func collected(t *testing.T, declared catalogue.Catalogue) map[string]metricdata.Metrics {
	t.Helper()
	reader := sdkmetric.NewManualReader()
	feed(t, sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), declared)
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	found := make(map[string]metricdata.Metrics)
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			found[m.Name] = m
		}
	}
	return found
}

// feed gives every metric of the catalogue a value.
func feed(t *testing.T, provider metric.MeterProvider, declared catalogue.Catalogue) {
	t.Helper()
	instruments := catalogue.NewInstruments(provider, declared)
	for _, m := range declared {
		var err error
		switch m.Kind {
		case catalogue.Counter:
			var c metric.Int64Counter
			if c, err = instruments.Int64Counter(m.Name); err == nil {
				c.Add(t.Context(), 1)
			}
		case catalogue.Histogram:
			var h metric.Float64Histogram
			if h, err = instruments.Float64Histogram(m.Name); err == nil {
				h.Record(t.Context(), 1)
			}
		case catalogue.Gauge:
			_, err = instruments.Float64ObservableGauge(m.Name, func(_ context.Context, o metric.Float64Observer) error {
				o.Observe(1)
				return nil
			})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestConventionsAreThoseOfThePinnedVersion(t *testing.T) {
	found := collected(t, catalogue.Conventions())
	conventions := map[string]convention{
		catalogue.MessagingClientOperationDuration: messagingconv.ClientOperationDuration{},
		catalogue.MessagingClientSentMessages:      messagingconv.ClientSentMessages{},
		catalogue.MessagingClientConsumedMessages:  messagingconv.ClientConsumedMessages{},
		catalogue.MessagingProcessDuration:         messagingconv.ProcessDuration{},
		catalogue.HTTPServerRequestDuration:        httpconv.ServerRequestDuration{},
	}
	if len(conventions) != len(catalogue.Conventions()) {
		t.Errorf("%d metrics are declared, %d are compared", len(catalogue.Conventions()), len(conventions))
	}
	for name, want := range conventions {
		got, ok := found[want.Name()]
		if !ok {
			t.Errorf("%s is not there; there are %v", want.Name(), found)
			continue
		}
		if got.Unit != want.Unit() || got.Description != want.Description() {
			t.Errorf("%s has unit %q, description %q; want %q, %q", name, got.Unit, got.Description, want.Unit(), want.Description())
		}
		if h, ok := got.Data.(metricdata.Histogram[float64]); ok {
			// docs/messaging/messaging-metrics.md and docs/http/http-metrics.md of that version
			advised := "[0.005 0.01 0.025 0.05 0.075 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10]"
			if bounds := fmt.Sprint(h.DataPoints[0].Bounds); bounds != advised {
				t.Errorf("%s has the buckets %s, want %s", name, bounds, advised)
			}
		}
	}
}

// TestInstrumentsHaveBaseUnits checks what goes out over OTLP against the names on the page.
func TestInstrumentsHaveBaseUnits(t *testing.T) {
	declared := append(catalogue.Common(), catalogue.Optional()...)
	found := collected(t, declared)
	for _, m := range declared {
		got, ok := found[m.InstrumentName()]
		if !ok {
			t.Errorf("%s has no instrument", m.Name)
			continue
		}
		unit := map[bool]string{strings.Contains(m.Name, "_seconds"): "s", strings.Contains(m.Name, "_bytes"): "By"}[true]
		if m.Unit == "{message}" {
			unit = m.Unit
		}
		if got.Unit != unit {
			t.Errorf("%s has the unit %q, want %q", m.Name, got.Unit, unit)
		}
	}
}

// A provider of somebody's own, read by OpenTelemetry's Prometheus exporter as it comes, has the documented names too.
func TestThePrometheusExporterGivesTheDocumentedNames(t *testing.T) {
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry),
		otelprometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes))
	if err != nil {
		t.Fatal(err)
	}
	declared := append(catalogue.Common(), catalogue.Optional()...)
	feed(t, sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter)), declared)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool, len(families))
	for _, family := range families {
		names[family.GetName()] = true
	}
	for _, m := range declared {
		if !names[m.Name] {
			t.Errorf("%s is not on the page; its instrument is %s", m.Name, m.InstrumentName())
		}
	}
}
