package otelkafka

import (
	"testing"

	"github.com/IBM/sarama"
)

// The recorder would keep every sampled span, so these leave sampling out: what is left is the cost that every
// record has.

func BenchmarkSend(b *testing.B) {
	b.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	_, inst := newInstrumentation(b, Options{Produces: []string{"out"}})
	headers := []sarama.RecordHeader{header("eventId", "e-1"), header("eventType", "OrderCreated")}
	b.ReportAllocs()
	for b.Loop() {
		msg := &sarama.ProducerMessage{Topic: "out", Headers: headers}
		_, send := inst.StartSend(b.Context(), msg)
		send.End(0, 0, nil)
	}
}

func BenchmarkProcess(b *testing.B) {
	b.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	_, inst := newInstrumentation(b, Options{Consumes: []string{"in"}})
	parent := header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
	msg := &sarama.ConsumerMessage{Topic: "in", Headers: []*sarama.RecordHeader{&parent}}
	b.ReportAllocs()
	for b.Loop() {
		_, process := inst.StartProcess(b.Context(), msg)
		process.End(nil)
	}
}

func BenchmarkConsumed(b *testing.B) {
	_, inst := newInstrumentation(b, Options{Consumes: []string{"in"}})
	b.ReportAllocs()
	for b.Loop() {
		inst.CountConsumed(b.Context(), "in", 1)
	}
}
