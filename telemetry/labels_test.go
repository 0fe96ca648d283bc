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

// odd are labels that nobody should give: a value that is no text, one that is very long, a label that is not declared,
// and one that is the page's own.
func odd() metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("kind", "\xff\xfe"), attribute.String("where", strings.Repeat("x", 5000)),
		attribute.String("extra", "y"), attribute.String("KIND", "ok"), attribute.String("service", "another"))
}

// heldMetrics has a metric for each sort of instrument.
func heldMetrics() telemetry.Catalogue {
	of := func(name string, kind telemetry.Kind) telemetry.Metric {
		m := telemetry.Metric{Name: name, Kind: kind, Help: "One.", Labels: []string{"kind", "where"}, Bound: "the test's"}
		if kind == telemetry.Histogram {
			m.Buckets = []float64{1}
		}
		return m
	}
	summed := of("summed", telemetry.Gauge)
	summed.Sum = true
	return telemetry.Catalogue{
		of("whole_total", telemetry.Counter), of("broken_total", telemetry.Counter), of("spread", telemetry.Histogram),
		of("seen", telemetry.Gauge), of("seen_broken", telemetry.Gauge), summed,
		of("read_total", telemetry.Counter), of("found", telemetry.Gauge),
	}
}

// measureOddly uses every sort of instrument with odd labels.
func measureOddly(t *testing.T, r *telemetrytest.Recorder) {
	t.Helper()
	instruments, ctx := r.Instruments(), t.Context()
	whole, err1 := instruments.Int64Counter("whole_total")
	broken, err2 := instruments.Float64Counter("broken_total")
	spread, err3 := instruments.Float64Histogram("spread")
	_, err4 := instruments.Int64ObservableGauge("seen", func(_ context.Context, o metric.Int64Observer) error { o.Observe(1, odd()); return nil })
	_, err5 := instruments.Float64ObservableGauge("seen_broken", func(_ context.Context, o metric.Float64Observer) error { o.Observe(1, odd()); return nil })
	_, err6 := instruments.Int64ObservableSum("summed", func(_ context.Context, o metric.Int64Observer) error { o.Observe(1, odd()); return nil })
	_, err7 := instruments.Observe([]string{"read_total", "found"}, func(_ context.Context, o telemetry.Observation) error {
		o.Counter("read_total", 1, odd())
		o.Gauge("found", 1, odd())
		return nil
	})
	for _, err := range []error{err1, err2, err3, err4, err5, err6, err7} {
		if err != nil {
			t.Fatal(err)
		}
	}
	whole.Add(ctx, 1, odd())
	whole.Add(ctx, -5, odd())
	broken.Add(ctx, 1, odd())
	broken.Add(ctx, -.5, odd())
	spread.Record(ctx, .5, odd())
}

// However a measurement is labelled, its series is on the page, in every format, under the labels that are declared.
func TestMeasurementsAreHeldToTheCatalogue(t *testing.T) {
	r := telemetrytest.New(t, "shop", heldMetrics())
	measureOddly(t, r)
	r.CheckCatalogue()
	labels := map[string]string{"kind": "\uFFFD", "where": strings.Repeat("x", 1024) + "…", "service": "shop"}
	for _, m := range heldMetrics() {
		if got := r.Metric(m.Name, labels); got != 1 || r.Series(m.Name, nil) != 1 {
			t.Errorf("%s is %v, of %d series", m.Name, got, r.Series(m.Name, nil))
		}
	}
	for _, page := range []string{r.Page(), r.OpenMetricsPage()} {
		if n := strings.Count(page, "kind=\"\uFFFD\",service=\"shop\""); n < len(heldMetrics()) {
			t.Errorf("%d series are on the page, want one of each metric at least", n)
		}
	}
	if lines := r.Logs(); len(lines) != 0 {
		t.Errorf("the log has %v", lines)
	}
}

// What libraries measure by the provider cannot spoil the page either.
func TestLabelsOfOthersAreText(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	meter := r.MeterProvider().Meter("another's")
	calls, err := meter.Int64Counter("calls")
	if err != nil {
		t.Fatal(err)
	}
	took, err := meter.Float64Histogram("took", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(1))
	if err != nil {
		t.Fatal(err)
	}
	ctx, span := r.TracerProvider().Tracer("test").Start(t.Context(), "call")
	defer span.End()
	labels := metric.WithAttributes(attribute.String("good", "g"), attribute.String("bad", "\xff"), attribute.StringSlice("list", []string{"\xff"}))
	calls.Add(ctx, 1, labels)
	took.Record(ctx, .5, labels)
	page := r.OpenMetricsPage()
	if err := telemetrytest.CheckOpenMetrics(page); err != nil {
		t.Error(err)
	}
	for _, want := range []string{`calls_total{good="g",service="shop"} 1`, `took_seconds_bucket{good="g",service="shop",le="1.0"} 1 # {`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if found := exemplars(t, page)[`took_seconds_bucket{good="g",service="shop",le="1.0"}`]; len(found) != 2 {
		t.Errorf("the exemplar has %v, want the trace and the span", found)
	}
	if lines := r.Logs(); len(lines) != 0 {
		t.Errorf("the log has %v", lines)
	}
}
