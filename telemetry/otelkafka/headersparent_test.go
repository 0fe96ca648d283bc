package otelkafka

import (
	"strings"
	"testing"

	"github.com/IBM/sarama"
	"github.com/dnwe/otelsarama"
	"go.opentelemetry.io/otel/trace"
)

// What is written and read here is what the propagator would write and read.
func TestParentIsThePropagators(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	for _, flags := range []trace.TraceFlags{0, 1, 2, 3, 0xff} {
		for headers := range 6 {
			ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
				TraceID: trace.TraceID{0xab, 15: byte(headers)}, SpanID: trace.SpanID{1, 7: 0xff}, TraceFlags: flags,
			}))
			ours, theirs := &sarama.ProducerMessage{}, &sarama.ProducerMessage{}
			for range headers {
				ours.Headers = append(ours.Headers, header("eventId", "e-1"))
			}
			theirs.Headers = append(theirs.Headers, ours.Headers...)
			inst.Inject(ctx, ours)
			inst.propagator.Inject(ctx, otelsarama.NewProducerMessageCarrier(theirs))
			if len(ours.Headers) != len(theirs.Headers) {
				t.Fatalf("%d headers, the propagator has %d", len(ours.Headers), len(theirs.Headers))
			}
			for n, want := range theirs.Headers {
				if got := ours.Headers[n]; string(got.Key) != string(want.Key) || string(got.Value) != string(want.Value) {
					t.Errorf("header %s: %s, the propagator's is %s: %s", got.Key, got.Value, want.Key, want.Value)
				}
			}
		}
	}
	for _, field := range inst.fields {
		if !inst.isContext([]byte(field)) || inst.isContext([]byte(field+"x")) {
			t.Errorf("the header %s is not told from others", field)
		}
	}
}

// FuzzParent holds every value of the header against what the propagator makes of it.
func FuzzParent(f *testing.F) {
	f.Add(traceparent, "")
	f.Add(strings.ToUpper(traceparent), "")
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-04", "")
	f.Add("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "")
	f.Add("00-00000000000000000000000000000000-00f067aa0ba902b7-01", "")
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-03", "a=1")
	f.Add("00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g", "")
	_, inst := newInstrumentation(f, Options{})
	f.Fuzz(func(t *testing.T, parent, state string) {
		msg := &sarama.ConsumerMessage{Headers: []*sarama.RecordHeader{nil, {Key: []byte("traceparent"), Value: []byte(parent)}}}
		if state != "" {
			msg.Headers = append(msg.Headers, &sarama.RecordHeader{Key: []byte("tracestate"), Value: []byte(state)})
		}
		got := trace.SpanContextFromContext(inst.Extract(t.Context(), msg))
		want := trace.SpanContextFromContext(inst.propagator.Extract(t.Context(), boundedCarrier{otelsarama.NewConsumerMessageCarrier(msg), msg}))
		if !got.Equal(want) {
			t.Errorf("%q is read as %+v, by the propagator as %+v", parent, got, want)
		}
	})
}
