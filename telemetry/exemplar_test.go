package telemetry_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// exemplars returns each exemplar of a page as its labels, by the series it stands at. A label set of OpenMetrics 1.0
// has at most 128 characters, names and values counted together.
func exemplars(t *testing.T, page string) map[string]map[string]string {
	t.Helper()
	label := regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"`)
	found := map[string]map[string]string{}
	for line := range strings.Lines(page) {
		series, exemplar, ok := strings.Cut(line, " # {")
		if strings.HasPrefix(line, "#") || !ok {
			continue
		}
		labels, characters := map[string]string{}, 0
		for _, match := range label.FindAllStringSubmatch(exemplar[:strings.LastIndex(exemplar, "}")], -1) {
			labels[match[1]] = match[2]
			characters += utf8.RuneCountInString(match[1]) + utf8.RuneCountInString(match[2])
		}
		if characters > 128 {
			t.Errorf("an exemplar of %d characters: %s", characters, line)
		}
		found[series[:strings.LastIndex(series, " ")]] = labels
	}
	return found
}

// The context that a measurement is made in can carry much; its exemplar carries the trace and the span.
func TestExemplarsAreOfTheTraceAlone(t *testing.T) {
	long := strings.Repeat("é\"\\", 100)
	for name, test := range map[string]struct {
		context   func(context.Context) context.Context
		attribute string
	}{
		"plain": {func(ctx context.Context) context.Context { return ctx }, "authorized"},
		"long":  {func(ctx context.Context) context.Context { return ctx }, long},
		"baggage": {func(ctx context.Context) context.Context {
			member, err := baggage.NewMemberRaw("tenant", strings.Repeat("b", 500))
			if err != nil {
				t.Fatal(err)
			}
			all, err := baggage.New(member)
			if err != nil {
				t.Fatal(err)
			}
			return baggage.ContextWithBaggage(ctx, all)
		}, "authorized"},
	} {
		t.Run(name, func(t *testing.T) {
			r := telemetrytest.New(t, "shop", ownMetrics())
			ctx, span := r.TracerProvider().Tracer("test").Start(test.context(t.Context()), strings.Repeat("name", 100),
				trace.WithAttributes(attribute.String("long", long)))
			defer span.End()
			counter, err := r.Instruments().Int64Counter("payments_total")
			if err != nil {
				t.Fatal(err)
			}
			histogram, err := r.Instruments().Float64Histogram(telemetry.KafkaConsumerRebalanceDuration)
			if err != nil {
				t.Fatal(err)
			}
			counter.Add(ctx, 1, metric.WithAttributes(attribute.String("status", test.attribute)))
			histogram.Record(ctx, 3)
			found := exemplars(t, r.OpenMetricsPage())
			for _, series := range []string{"payments_total", telemetry.KafkaConsumerRebalanceDuration + "_bucket"} {
				n := 0
				for s, labels := range found {
					if !strings.HasPrefix(s, series+"{") {
						continue
					}
					n++
					if len(labels) != 2 || labels["trace_id"] != span.SpanContext().TraceID().String() ||
						labels["span_id"] != span.SpanContext().SpanID().String() {
						t.Errorf("exemplar %v of %s, want the span's ids", labels, s)
					}
				}
				if n != 1 {
					t.Errorf("%d exemplars of %s, want 1", n, series)
				}
			}
			if found := exemplars(t, r.Page()); len(found) != 0 {
				t.Errorf("the text format has no exemplars, the page shows %v", found)
			}
		})
	}
}

// An exemplar would publish an amount to the cent, beside its trace: only times have one.
func TestAmountsAreNoExemplars(t *testing.T) {
	r := telemetrytest.New(t, "shop", append(ownMetrics(), telemetry.Metric{Name: "paid_euros_total", Kind: telemetry.Counter, Help: "Euros paid."},
		telemetry.Metric{Name: "worked_seconds_total", Kind: telemetry.Counter, Unit: "s", Help: "Time worked."}))
	ctx, span := r.TracerProvider().Tracer("test").Start(t.Context(), "work")
	defer span.End()
	histogram, err := r.Instruments().Float64Histogram("order_amount_euros")
	if err != nil {
		t.Fatal(err)
	}
	histogram.Record(ctx, 79.37)
	for _, name := range []string{"paid_euros_total", "worked_seconds_total"} {
		counter, err := r.Instruments().Float64Counter(name)
		if err != nil {
			t.Fatal(err)
		}
		counter.Add(ctx, 79.37)
	}
	found := exemplars(t, r.OpenMetricsPage())
	if _, ok := found[`worked_seconds_total{service="shop"}`]; len(found) != 1 || !ok {
		t.Errorf("exemplars %v, want the time's alone", found)
	}
	if r.Metric("order_amount_euros", nil) != 1 || r.Metric("paid_euros_total", nil) != 79.37 {
		t.Error("amounts are not measured")
	}
}

// A trace that a sampler left out cannot be opened: it is no exemplar.
func TestUnsampledTracesAreNoExemplars(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	r := telemetrytest.New(t, "shop", ownMetrics())
	ctx, span := r.TracerProvider().Tracer("test").Start(t.Context(), "work")
	defer span.End()
	histogram, err := r.Instruments().Float64Histogram(telemetry.KafkaConsumerRebalanceDuration)
	if err != nil {
		t.Fatal(err)
	}
	histogram.Record(ctx, 3)
	if found := exemplars(t, r.OpenMetricsPage()); len(found) != 0 {
		t.Errorf("exemplars %v", found)
	}
}

// Where spans go nowhere measurements still carry their trace's ids, which the logs have as well.
func TestExemplarsWithoutExporters(t *testing.T) {
	tel, _, _ := withTaker(t, telemetry.Config{Catalogue: ownMetrics()})
	ctx, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "work")
	defer span.End()
	histogram, err := tel.Instruments().Float64Histogram(telemetry.KafkaConsumerRebalanceDuration)
	if err != nil {
		t.Fatal(err)
	}
	histogram.Record(ctx, 3)
	labels := exemplars(t, openMetricsPage(t, tel))[telemetry.KafkaConsumerRebalanceDuration+`_bucket{service="shop",le="5.0"}`]
	if labels["trace_id"] != span.SpanContext().TraceID().String() {
		t.Errorf("exemplar %v, want trace %v", labels, span.SpanContext().TraceID())
	}
}

func openMetricsPage(t *testing.T, tel *telemetry.Telemetry) string {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	answer := httptest.NewRecorder()
	tel.MetricsHandler().ServeHTTP(answer, request)
	return answer.Body.String()
}
