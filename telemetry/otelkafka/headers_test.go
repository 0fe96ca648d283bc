package otelkafka

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/IBM/sarama"
	"github.com/dnwe/otelsarama"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"
)

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func header(key, value string) sarama.RecordHeader {
	return sarama.RecordHeader{Key: []byte(key), Value: []byte(value)}
}

func headerKeys(headers []sarama.RecordHeader) []string {
	var names []string
	for _, h := range headers {
		names = append(names, string(h.Key))
	}
	return names
}

func TestInjectReplacesWhatAnEarlierSendLeft(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	ctx, span := inst.tracer.Start(t.Context(), "request")
	defer span.End()
	msg := &sarama.ProducerMessage{Topic: "out", Headers: []sarama.RecordHeader{
		header("traceparent", traceparent), header("eventId", "e-1"), header("tracestate", "a=1"),
		header("baggage", "tier=old"), header("traceparent", traceparent),
	}}
	inst.Inject(ctx, msg)
	if got := headerKeys(msg.Headers); !slices.Equal(got, []string{"eventId", "traceparent"}) {
		t.Errorf("headers %v, want eventId and one traceparent", got)
	}
	if got := string(msg.Headers[1].Value); !strings.Contains(got, span.SpanContext().SpanID().String()) {
		t.Errorf("traceparent %q is not the span's", got)
	}
}

func TestRecordsMayShareHeaders(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	shared := make([]sarama.RecordHeader, 1, 8)
	shared[0] = header("eventType", "OrderCreated")
	a := &sarama.ProducerMessage{Topic: "out", Headers: shared}
	b := &sarama.ProducerMessage{Topic: "out", Headers: shared}
	_, first := inst.StartSend(t.Context(), a)
	_, second := inst.StartSend(t.Context(), b)
	first.End(0, 0, nil)
	second.End(0, 1, nil)
	if bytes.Equal(a.Headers[1].Value, b.Headers[1].Value) {
		t.Error("two records carry one context")
	}
}

func TestExtractIgnoresHostileHeaders(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	tests := []struct {
		name    string
		headers []*sarama.RecordHeader
		valid   bool
		baggage int
	}{
		{name: "none"},
		{name: "nil header", headers: []*sarama.RecordHeader{nil, {Key: []byte("traceparent"), Value: []byte(traceparent)}}, valid: true},
		{name: "empty", headers: []*sarama.RecordHeader{{}, {Key: []byte("traceparent")}}},
		{name: "malformed", headers: []*sarama.RecordHeader{{Key: []byte("traceparent"), Value: []byte("00-zz")}}},
		{name: "oversized", headers: []*sarama.RecordHeader{{Key: []byte("traceparent"), Value: []byte(traceparent + strings.Repeat("-", maxHeader))}}},
		{name: "good baggage", headers: []*sarama.RecordHeader{{Key: []byte("baggage"), Value: []byte("a=1,b=2")}}, baggage: 2},
		{name: "oversized baggage", headers: []*sarama.RecordHeader{{Key: []byte("baggage"), Value: []byte("a=" + strings.Repeat("1", maxHeader))}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx := inst.Extract(t.Context(), &sarama.ConsumerMessage{Topic: "in", Headers: test.headers})
			if got := trace.SpanContextFromContext(ctx).IsValid(); got != test.valid {
				t.Errorf("span context valid: %v, want %v", got, test.valid)
			}
			if got := baggage.FromContext(ctx).Len(); got != test.baggage {
				t.Errorf("%d members of baggage, want %d", got, test.baggage)
			}
		})
	}
}

func TestExtractForgetsTheCallersBaggage(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	in := &sarama.ConsumerMessage{Headers: []*sarama.RecordHeader{{Key: []byte("baggage"), Value: []byte("a=1")}}}
	ctx := inst.Extract(t.Context(), in)
	if ctx = inst.Extract(ctx, &sarama.ConsumerMessage{}); baggage.FromContext(ctx).Len() != 0 {
		t.Error("the next record inherits the baggage of the one before")
	}
}

func TestCarrierKeysSkipNil(t *testing.T) {
	msg := &sarama.ConsumerMessage{Headers: []*sarama.RecordHeader{nil, {Key: []byte("a")}}}
	if got := (boundedCarrier{otelsarama.NewConsumerMessageCarrier(msg), msg}).Keys(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("keys %v", got)
	}
}

func TestExtractBoundsTheTraceState(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	for members, want := range map[int]int{10: 10, 30: 0} { // 30 are well formed, but larger than maxHeader
		var state []string
		for i := range members {
			state = append(state, fmt.Sprintf("k%d=%s", i, strings.Repeat("v", 255)))
		}
		parent, states := header("traceparent", traceparent), header("tracestate", strings.Join(state, ",")+strings.Repeat(" ", 20*members))
		ctx := inst.Extract(t.Context(), &sarama.ConsumerMessage{Headers: []*sarama.RecordHeader{&parent, &states}})
		span := trace.SpanContextFromContext(ctx)
		if !span.IsValid() || span.TraceState().Len() != want {
			t.Errorf("%d members in %d bytes: %d are kept, want %d", members, len(states.Value), span.TraceState().Len(), want)
		}
	}
}
