package otelkafka

import (
	"errors"
	"strings"
	"testing"

	"github.com/IBM/sarama"
	"github.com/IBM/sarama/mocks"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

func TestSendersContext(t *testing.T) {
	r, inst := newInstrumentation(t, Options{})
	ctx, request := inst.tracer.Start(t.Context(), "request")
	request.End()
	other, otherSpan := inst.tracer.Start(t.Context(), "other")
	otherSpan.End()
	injected := &sarama.ProducerMessage{Topic: "out"}
	inst.Inject(ctx, injected)
	both := &sarama.ProducerMessage{Topic: "out", Metadata: 7}
	inst.Inject(other, both)
	tests := []struct {
		name   string
		msg    *sarama.ProducerMessage
		parent trace.SpanID
	}{
		{"none", &sarama.ProducerMessage{Topic: "out"}, trace.SpanID{}},
		{"headers", injected, request.SpanContext().SpanID()},
		{"context before headers", WithContext(ctx, both), request.SpanContext().SpanID()},
		{"the later context", WithContext(ctx, WithContext(other, &sarama.ProducerMessage{Topic: "out"})), request.SpanContext().SpanID()},
		{"hostile headers", &sarama.ProducerMessage{Topic: "out", Headers: []sarama.RecordHeader{
			header("traceparent", strings.Repeat("0", maxHeader+1)), header("baggage", "a=1"),
		}}, trace.SpanID{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			mock := mocks.NewSyncProducer(t, nil)
			mock.ExpectSendMessageAndSucceed()
			before := len(r.Spans())
			if _, _, err := WrapSyncProducer(mock, inst).SendMessage(test.msg); err != nil {
				t.Fatal(err)
			}
			if got := r.Spans()[before]; got.Name != "send out" || got.Parent.SpanID() != test.parent {
				t.Errorf("%s under %v, want %v", got.Name, got.Parent.SpanID(), test.parent)
			}
			if _, kept := test.msg.Metadata.(*sending); kept || test.msg == both && both.Metadata != 7 {
				t.Errorf("Metadata comes back as %v", test.msg.Metadata)
			}
			if err := mock.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSyncProducerFails(t *testing.T) {
	r, inst := newInstrumentation(t, Options{Produces: []string{"out"}})
	mock := mocks.NewSyncProducer(t, nil)
	mock.ExpectSendMessageAndFail(sarama.ErrNotEnoughReplicas)
	p := WrapSyncProducer(mock, inst)
	if _, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: "out"}); !errors.Is(err, sarama.ErrNotEnoughReplicas) {
		t.Errorf("error %v", err)
	}
	if span := r.Span("send out"); span.Status.Code != codes.Error || span.Status.Description != "NOT_ENOUGH_REPLICAS" {
		t.Errorf("status %+v", span.Status)
	}
	if got := r.Metric(catalogue.KafkaMessagesProducedTotal, nil); got != 0 {
		t.Errorf("counted %v, want 0", got)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestSyncProducerOfMocksFailsAsAWhole(t *testing.T) {
	r, inst := newInstrumentation(t, Options{Produces: []string{"out"}})
	mock := mocks.NewSyncProducer(t, nil)
	mock.ExpectSendMessageAndSucceed()
	mock.ExpectSendMessageAndFail(sarama.ErrOutOfBrokers)
	err := WrapSyncProducer(mock, inst).SendMessages([]*sarama.ProducerMessage{{Topic: "out"}, {Topic: "out"}})
	if !errors.Is(err, sarama.ErrOutOfBrokers) {
		t.Errorf("error %v", err)
	}
	if got := r.Metric(catalogue.KafkaMessagesProducedTotal, nil); got != 0 || len(r.Spans()) != 2 {
		t.Errorf("counted %v with %d spans; a producer that does not say which failed has none acknowledged", got, len(r.Spans()))
	}
	if err := mock.Close(); err != nil {
		t.Error(err)
	}
}

// An encoder that gives nil makes a tombstone, as no encoder does; an empty value is none.
func TestTombstonesAreWhatKafkaGetsNoValueOf(t *testing.T) {
	for name, test := range map[string]struct {
		value sarama.Encoder
		want  bool
	}{
		"no encoder":        {nil, true},
		"an encoder of nil": {sarama.ByteEncoder(nil), true},
		"an empty value":    {sarama.ByteEncoder{}, false},
		"empty text":        {sarama.StringEncoder(""), false},
	} {
		r, inst := newInstrumentation(t, Options{})
		_, span := inst.StartSend(t.Context(), &sarama.ProducerMessage{Topic: "out", Value: test.value})
		span.End(0, 0, nil)
		got := false
		for _, a := range r.Span("send out").Attributes {
			got = got || a.Key == "messaging.kafka.message.tombstone" && a.Value.AsBool()
		}
		if got != test.want {
			t.Errorf("%s: tombstone %v, want %v", name, got, test.want)
		}
	}
}

// What a monitor sends has its spans, and counts nowhere.
func TestWhatIsLeftOutIsNotCounted(t *testing.T) {
	r, inst := newInstrumentation(t, Options{})
	for _, left := range []bool{false, true} {
		_, sent := inst.StartSend(t.Context(), &sarama.ProducerMessage{Topic: "out"})
		_, processed := inst.StartProcess(t.Context(), &sarama.ConsumerMessage{Topic: "in"})
		if left {
			sent.LeaveOut()
			processed.LeaveOut()
		}
		sent.End(0, 0, nil)
		processed.End(nil)
	}
	if got := r.Metric(catalogue.KafkaMessagesProducedTotal, map[string]string{"topic": "out"}); got != 1 {
		t.Errorf("%v records produced", got)
	}
	if got := r.Metric(catalogue.KafkaMessageProcessingDuration, map[string]string{"topic": "in"}); got != 1 {
		t.Errorf("%v durations", got)
	}
	if got := len(r.Spans()); got != 4 {
		t.Errorf("%d spans", got)
	}
}
