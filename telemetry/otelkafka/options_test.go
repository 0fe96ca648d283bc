package otelkafka

import (
	"strings"
	"testing"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func TestSpansAsAsked(t *testing.T) {
	r, inst := newInstrumentation(t, Options{
		OmitKeys: true, SpanName: func(operation, topic string) string { return topic + " " + operation },
		Attributes:    []attribute.KeyValue{attribute.String("team", "billing"), attribute.String("messaging.system", "mine")},
		ServerAddress: "kafka.example.org:9092", ClusterID: "c-1",
	})
	msg := &sarama.ProducerMessage{Topic: "orders", Key: sarama.StringEncoder("anna@example.org")}
	_, send := inst.StartSend(t.Context(), msg)
	send.End(0, 0, nil)
	_, process := inst.StartProcess(t.Context(), received(msg))
	process.End(nil)
	for _, name := range []string{"orders send", "orders process"} {
		span := r.Span(name)
		wantAttributes(t, span, attribute.String("team", "billing"), attribute.String("messaging.system", "kafka"),
			attribute.String("server.address", "kafka.example.org"), attribute.Int("server.port", 9092),
			attribute.String("messaging.kafka.cluster.id", "c-1"))
		for _, a := range span.Attributes {
			if strings.Contains(a.Value.String(), "anna") {
				t.Errorf("%s has the key: %v", name, a)
			}
		}
	}
}

// Baggage that is left out reaches nobody, either way; the handler keeps what its own context has.
func TestBaggageIsLeftOut(t *testing.T) {
	_, inst := newInstrumentation(t, Options{OmitBaggage: true})
	_, open := newInstrumentation(t, Options{})
	member, err := baggage.NewMember("user", "anna")
	if err != nil {
		t.Fatal(err)
	}
	bag, err := baggage.New(member)
	if err != nil {
		t.Fatal(err)
	}
	ctx := baggage.ContextWithBaggage(t.Context(), bag)
	msg := &sarama.ProducerMessage{Topic: "out"}
	inst.Inject(ctx, msg)
	for _, h := range msg.Headers {
		if string(h.Key) == "baggage" {
			t.Errorf("baggage is sent: %s", h.Value)
		}
	}
	open.Inject(ctx, msg)
	if got := baggage.FromContext(open.Extract(t.Context(), received(msg))); got.Len() != 1 {
		t.Errorf("by default %d members are read", got.Len())
	}
	if got := baggage.FromContext(inst.Extract(t.Context(), received(msg))); got.Len() != 0 {
		t.Errorf("baggage is read: %v", got)
	}
}

// A sampler of the application's own decides by what the records of a topic have in common.
func TestSamplersSeeAttributes(t *testing.T) {
	seen := samplerOfTopics{}
	recorder := tracetest.NewSpanRecorder()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSampler(seen), sdktrace.WithSpanProcessor(recorder))
	inst, err := New(WithTracerProvider(tracers), WithPropagators(propagation.TraceContext{}), Options{ConsumerGroup: "g"})
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"wanted", "other"} {
		_, send := inst.StartSend(t.Context(), &sarama.ProducerMessage{Topic: topic})
		send.End(0, 0, nil)
		_, process := inst.StartProcess(t.Context(), &sarama.ConsumerMessage{Topic: topic})
		process.End(nil)
	}
	spans := tracetest.SpanStubsFromReadOnlySpans(recorder.Ended())
	if len(spans) != 2 || spans[0].Name != "send wanted" || spans[1].Name != "process wanted" {
		t.Fatalf("recorded %v, want the two of the topic", spans)
	}
	wantAttributes(t, spans[1], attribute.String("messaging.consumer.group.name", "g"), attribute.Int("messaging.kafka.offset", 0))
}

type samplerOfTopics struct{}

func (samplerOfTopics) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	for _, a := range p.Attributes {
		if a.Key == "messaging.destination.name" && a.Value.AsString() == "wanted" {
			return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
		}
	}
	return sdktrace.SamplingResult{Decision: sdktrace.Drop}
}

func (samplerOfTopics) Description() string { return "topics" }
