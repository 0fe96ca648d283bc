package telemetry_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/internal/leaks"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func TestSetupRefuses(t *testing.T) {
	tests := []struct {
		name   string
		config telemetry.Config
		want   string
	}{
		{"no name", telemetry.Config{}, "service name"},
		{"name with a space", telemetry.Config{Service: "a b"}, "service name"},
		{"name too long", telemetry.Config{Service: strings.Repeat("a", 64)}, "service name"},
		{"log format", telemetry.Config{Service: "a", LogFormat: "xml"}, `log format "xml"`},
		{"nil processor", telemetry.Config{Service: "a", SpanProcessors: []sdktrace.SpanProcessor{nil}}, "span processor 0"},
		{"metric of Common again", telemetry.Config{Service: "a", Catalogue: catalogue.Common()[:1]}, "declared twice"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := telemetry.Setup(t.Context(), test.config)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestTwoServicesShareNothing(t *testing.T) {
	a, b := telemetrytest.New(t, "a", nil), telemetrytest.New(t, "b", nil)
	fillEverything(t, a)
	_, span := a.TracerProvider().Tracer("test").Start(t.Context(), "work")
	span.End()
	a.Logger().Info("hello")
	if n := b.Series(catalogue.KafkaMessagesProducedTotal, nil); n != 0 {
		t.Errorf("b shows %d series of a", n)
	}
	if len(b.Spans()) != 0 || len(b.Logs()) != 0 {
		t.Errorf("b has spans %v and logs %v of a", b.Spans(), b.Logs())
	}
	if got := a.Metric(catalogue.KafkaMessagesProducedTotal, map[string]string{"service": "a"}); got != 3 {
		t.Errorf("a counts %v, want 3", got)
	}
}

func TestGlobalsStayUntouched(t *testing.T) {
	r := telemetrytest.New(t, "a", nil)
	_, span := otel.Tracer("test").Start(t.Context(), "global")
	defer span.End()
	if span.SpanContext().IsValid() || len(otel.GetTextMapPropagator().Fields()) != 0 {
		t.Error("Setup set a global provider or propagator")
	}
	if r.TracerProvider() == otel.GetTracerProvider() || r.MeterProvider() == otel.GetMeterProvider() {
		t.Error("Setup uses a global provider")
	}
}

func TestSpansNameTheService(t *testing.T) {
	t.Setenv("OTEL_SERVICE_NAME", "other")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	r := telemetrytest.New(t, "a", nil)
	_, span := r.TracerProvider().Tracer("test").Start(t.Context(), "work")
	span.End()
	got := r.Span("work").Resource.Set()
	for key, want := range map[attribute.Key]string{
		"service.name": "a", "service.version": "test", "deployment.environment.name": "test",
	} {
		if value, _ := got.Value(key); value.AsString() != want {
			t.Errorf("resource has %s %q, want %q", key, value.AsString(), want)
		}
	}
}

func TestSamplerComesFromTheEnvironment(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	r := telemetrytest.New(t, "a", nil)
	_, span := r.TracerProvider().Tracer("test").Start(t.Context(), "work")
	span.End()
	if span.SpanContext().IsSampled() || !span.SpanContext().IsValid() {
		t.Errorf("span context %+v, want valid and not sampled", span.SpanContext())
	}
}

func TestPropagatorIsW3C(t *testing.T) {
	r := telemetrytest.New(t, "a", nil)
	ctx, span := r.TracerProvider().Tracer("test").Start(t.Context(), "work")
	defer span.End()
	carrier := propagation.MapCarrier{}
	r.Propagator().Inject(ctx, carrier)
	got := trace.SpanContextFromContext(r.Propagator().Extract(t.Context(), carrier))
	if got.SpanID() != span.SpanContext().SpanID() || carrier["traceparent"] == "" {
		t.Errorf("carrier %v does not carry the span", carrier)
	}
}

// failing is a span processor whose shutdown fails, and counts.
type failing struct {
	sdktrace.SpanProcessor
	calls int
}

func (f *failing) Shutdown(context.Context) error {
	f.calls++
	return errors.New("no route to collector")
}

func TestShutdownOnce(t *testing.T) {
	p := &failing{}
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{
		Service: "a", LogWriter: io.Discard, SpanProcessors: []sdktrace.SpanProcessor{p},
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		err := tel.Shutdown(t.Context())
		if err == nil || !strings.Contains(err.Error(), "shut down telemetry of a: no route to collector") {
			t.Errorf("Shutdown: %v", err)
		}
	}
	if p.calls != 1 {
		t.Errorf("the processor was shut down %d times", p.calls)
	}
}

func TestMain(m *testing.M) { leaks.Main(m) }

// A service's own context has ended when a signal stops it: what its last seconds left is sent all the same.
func TestShutdownFlushesThoughTheContextHasEnded(t *testing.T) {
	exporter := &countingExporter{}
	ctx, stop := context.WithCancel(t.Context())
	tel, err := telemetry.Setup(ctx, telemetry.Config{
		Service: "shop", LogWriter: io.Discard, SpanExporters: []sdktrace.SpanExporter{exporter},
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		_, span := tel.TracerProvider().Tracer("test").Start(ctx, "work")
		span.End()
	}
	stop()
	if err := tel.Shutdown(ctx); err != nil || exporter.spans != 100 {
		t.Errorf("%d of 100 spans are exported, error %v", exporter.spans, err)
	}
}

type countingExporter struct{ spans int }

func (e *countingExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if ctx.Err() == nil {
		e.spans += len(spans)
	}
	return ctx.Err()
}

func (*countingExporter) Shutdown(context.Context) error { return nil }
