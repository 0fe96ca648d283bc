// Command ownsdk is a program of another team, which has OpenTelemetry's SDK set up already: it gives its providers to
// the library and reads what arrives there.
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/IBM/sarama"
	"github.com/IBM/sarama/mocks"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/vigie-dev/vigie/telemetry/otelhttpserver"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	service := resource.NewSchemaless(attribute.String("service.name", "greeter"))
	reader := sdkmetric.NewManualReader()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithResource(service))
	spans := tracetest.NewSpanRecorder()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans), sdktrace.WithResource(service))

	inst, err := otelkafka.New(
		otelkafka.WithMeterProvider(meters),
		otelkafka.WithTracerProvider(tracers),
		otelkafka.WithPropagators(propagation.TraceContext{}),
		otelkafka.Options{Produces: []string{"greetings"}, Consumes: []string{"greetings"}},
	)
	if err != nil {
		return err
	}
	fake := mocks.NewSyncProducer(failNow{}, nil)
	fake.ExpectSendMessageAndSucceed()
	record := &sarama.ProducerMessage{Topic: "greetings", Value: sarama.StringEncoder("hello")}
	if _, _, err := otelkafka.WrapSyncProducer(fake, inst).SendMessage(record); err != nil {
		return err
	}
	_, handled := inst.StartProcess(ctx, &sarama.ConsumerMessage{Topic: "greetings", Headers: []*sarama.RecordHeader{&record.Headers[0]}})
	handled.End(nil)

	server, err := otelhttpserver.New(
		otelhttpserver.WithMeterProvider(meters),
		otelhttpserver.WithTracerProvider(tracers),
		otelhttpserver.WithPropagators(propagation.TraceContext{}),
	)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /greetings/{name}", func(http.ResponseWriter, *http.Request) {})
	server(mux).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/greetings/world", nil))

	for _, span := range spans.Ended() {
		fmt.Println("span:", span.Name(), span.SpanKind(), "child:", span.Parent().IsValid())
	}
	var all metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &all); err != nil {
		return err
	}
	name, _ := all.Resource.Set().Value("service.name")
	fmt.Println("service.name:", name.AsString())
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			printMetric(m)
		}
	}
	return nil
}

func printMetric(m metricdata.Metrics) {
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, point := range data.DataPoints {
			fmt.Println(m.Name, point.Attributes.Encoded(attribute.DefaultEncoder()), point.Value)
		}
	case metricdata.Histogram[float64]:
		for _, point := range data.DataPoints {
			fmt.Println(m.Name, m.Unit, point.Attributes.Encoded(attribute.DefaultEncoder()), point.Count, point.Bounds)
		}
	}
}

// failNow is what sarama's mocks report to.
type failNow struct{}

func (failNow) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
