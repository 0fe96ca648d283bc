//go:build !race

// The race detector allocates, so nothing here is built with it.

package otelkafka

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// TestRecordingAllocatesNothing calls every recording of the hot path, with every optional metric on.
func TestRecordingAllocatesNothing(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	r, inst := newInstrumentation(t, Options{
		ConsumerGroup: "g", Produces: []string{"out"}, Consumes: []string{"in"}, Conventions: true,
	})
	failures, err := NewFailures(inst, []string{"in"}, []string{"malformed"})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	out, in := inst.topics.get("out"), inst.topics.get("in")
	_, process := inst.StartProcess(ctx, &sarama.ConsumerMessage{Topic: "in"})
	_, send := inst.StartSend(ctx, &sarama.ProducerMessage{Topic: "out"})
	for name, record := range map[string]func(){
		"produced":       func() { inst.CountProduced(ctx, "out", 1) },
		"consumed":       func() { inst.CountConsumed(ctx, "in", 1) },
		"end of send":    func() { send.End(1, 1, nil) },
		"send":           func() { inst.convention.recordSend(ctx, out, 0.1, nil) },
		"end of process": func() { process.End(nil) },
		"process":        func() { inst.convention.recordProcess(ctx, in, 1, 0.1, nil) },
		"failed":         func() { failures.CountFailed(ctx, "in", "malformed") },
		"dead letter":    func() { failures.CountDeadLettered(ctx, "in", "malformed") },
		"duplicate":      func() { failures.CountDuplicate(ctx, "in") },
	} {
		if n := testing.AllocsPerRun(1000, record); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	for name, least := range map[string]float64{
		catalogue.KafkaMessagesProducedTotal: 2002, catalogue.KafkaMessagesConsumedTotal: 1001,
		catalogue.KafkaMessageProcessingDuration: 1001, catalogue.MessagingProcessDuration: 2002,
		catalogue.MessagingClientOperationDuration: 2002, catalogue.KafkaDuplicatesTotal: 1001,
	} {
		if got := r.Metric(name, nil); got != least {
			t.Errorf("%s has %v recordings, want %v", name, got, least)
		}
	}
}

// TestConventionsAllocateNothingMore checks a record's whole way with the optional metrics against the way without.
func TestConventionsAllocateNothingMore(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	cost := func(conventions bool) (send, process float64) {
		r := telemetrytest.New(t, "shop", nil)
		inst, err := New(WithTelemetry(r.Telemetry), Options{Conventions: conventions})
		if err != nil {
			t.Fatal(err)
		}
		in := &sarama.ConsumerMessage{Topic: "in", Timestamp: time.Unix(1e9, 0)}
		send = testing.AllocsPerRun(1000, func() {
			_, s := inst.StartSend(t.Context(), &sarama.ProducerMessage{Topic: "out"})
			s.End(1, 1, nil)
		})
		return send, testing.AllocsPerRun(1000, func() {
			_, p := inst.StartProcess(t.Context(), in)
			p.End(nil)
		})
	}
	send, process := cost(false)
	if s, p := cost(true); s != send || p != process {
		t.Errorf("allocations %v and %v with the conventions, %v and %v without", s, p, send, process)
	}
}

// A topic that the metrics have no room for costs a record no more than another.
func TestTopicsBeyondTheBoundAreAsCheap(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	for n := range 250 {
		inst.topics.get(fmt.Sprint("t", n))
	}
	if inst.topics.get("t249").label != catalogue.LabelOther {
		t.Fatal("the topic has a label of its own")
	}
	if got := testing.AllocsPerRun(100, func() { inst.topics.get("t249") }); got != 0 {
		t.Errorf("%v allocations a record", got)
	}
}
