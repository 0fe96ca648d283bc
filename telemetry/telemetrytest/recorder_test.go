package telemetrytest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// failures is a test that an assertion may fail without failing the one around it.
type failures struct {
	testing.TB
	messages []string
}

func (f *failures) Helper() {}

func (f *failures) Errorf(format string, args ...any) {
	f.messages = append(f.messages, fmt.Sprintf(format, args...))
}

func (f *failures) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

// failed runs one assertion and returns what it complained of.
func failed(t *testing.T, r *Recorder, assertion func()) string {
	t.Helper()
	inner := &failures{TB: t}
	outer := r.t
	r.t = inner
	defer func() { r.t = outer }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		assertion()
	}()
	<-done
	return strings.Join(inner.messages, "\n")
}

func filled(t *testing.T) *Recorder {
	t.Helper()
	r := New(t, "shop", nil)
	requests, err := r.Instruments().Int64Counter(catalogue.KafkaMessagesProducedTotal)
	if err != nil {
		t.Fatal(err)
	}
	for topic, n := range map[string]int64{"a": 2, "b": 3} {
		requests.Add(t.Context(), n, metric.WithAttributes(attribute.String("topic", topic)))
	}
	duration, err := r.Instruments().Float64Histogram(catalogue.KafkaMessageProcessingDuration)
	if err != nil {
		t.Fatal(err)
	}
	duration.Record(t.Context(), 0.25, metric.WithAttributes(attribute.String("topic", "a")))
	duration.Record(t.Context(), 0.5, metric.WithAttributes(attribute.String("topic", "a")))
	return r
}

func TestMetricSumsWhatMatches(t *testing.T) {
	r := filled(t)
	if all, one := r.Metric(catalogue.KafkaMessagesProducedTotal, nil),
		r.Metric(catalogue.KafkaMessagesProducedTotal, map[string]string{"topic": "b", "service": "shop"}); all != 5 || one != 3 {
		t.Errorf("all %v and one %v, want 5 and 3", all, one)
	}
	if n, sum := r.Metric(catalogue.KafkaMessageProcessingDuration, nil),
		r.HistogramSum(catalogue.KafkaMessageProcessingDuration, nil); n != 2 || sum != 0.75 {
		t.Errorf("histogram of %v measurements, sum %v, want 2 and 0.75", n, sum)
	}
	if r.Series("nothing_total", nil) != 0 || r.Series(catalogue.KafkaMessagesProducedTotal, nil) != 2 {
		t.Error("series are miscounted")
	}
	r.CheckCatalogue()
}

func TestAssertionsFail(t *testing.T) {
	r := filled(t)
	tracer := r.TracerProvider().Tracer("test")
	for range 2 {
		_, span := tracer.Start(t.Context(), "twice")
		span.End()
	}
	wrong, err := r.Instruments().Int64Counter(catalogue.KafkaMessagesConsumedTotal)
	if err != nil {
		t.Fatal(err)
	}
	wrong.Add(t.Context(), 1, metric.WithAttributes(attribute.String("user", "u-1")))
	tests := []struct {
		name      string
		assertion func()
		want      string
	}{
		{"no metric", func() { r.Metric("nothing_total", nil) }, "no series nothing_total"},
		{"no such value", func() { r.Metric(catalogue.KafkaMessagesProducedTotal, map[string]string{"topic": "c"}) }, `topic="a"`},
		{"no such label", func() { r.Metric(catalogue.KafkaMessagesProducedTotal, map[string]string{"x": "y"}) }, "no series"},
		{"no histogram", func() { r.HistogramSum("nothing_seconds", nil) }, "no series"},
		{"no span", func() { r.Span("once") }, "0 spans"},
		{"two spans", func() { r.Span("twice") }, "2 spans"},
		{"labels besides the catalogue", func() { r.CheckCatalogue() }, "[service]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := failed(t, r, test.assertion); !strings.Contains(got, test.want) {
				t.Errorf("the assertion says %q, want %q", got, test.want)
			}
		})
	}
}

func TestLogsAndSpans(t *testing.T) {
	r := New(t, "shop", nil)
	ctx, span := r.TracerProvider().Tracer("test").Start(t.Context(), "work")
	r.Logger().DebugContext(ctx, "first", "n", 1)
	r.Logger().Error("second")
	if len(r.Spans()) != 0 {
		t.Error("a span is there before its end")
	}
	span.End()
	logs := r.Logs()
	if len(logs) != 2 || logs[0]["msg"] != "first" || logs[0]["trace_id"] != r.Span("work").SpanContext.TraceID().String() {
		t.Errorf("logs %v", logs)
	}
}
