package otelkafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// describe writes what the conventions say of a span: its name, kind, status, links and attributes.
func describe(s tracetest.SpanStub) string {
	var lines []string
	for _, a := range s.Attributes {
		lines = append(lines, fmt.Sprintf("  %s %s = %s\n", a.Key, a.Value.Type(), a.Value.String()))
	}
	slices.Sort(lines)
	head := fmt.Sprintf("%s\n  kind %s, status %s %q, %d links\n",
		s.Name, s.SpanKind, s.Status.Code, s.Status.Description, len(s.Links))
	return head + strings.Join(lines, "")
}

// spansOf makes each span that the package has, with every attribute.
func spansOf(t *testing.T, inst *Instrumentation) {
	t.Helper()
	failure := fmt.Errorf("send: %w", sarama.ErrNotEnoughReplicas)
	send := func(topic string, key, value sarama.Encoder, err error) *sarama.ProducerMessage {
		msg := &sarama.ProducerMessage{Topic: topic, Key: key, Value: value}
		_, span := inst.StartSend(t.Context(), msg)
		span.End(2, 41, err)
		return msg
	}
	msg := send("orders.created", sarama.StringEncoder("order-1"), sarama.StringEncoder("value"), nil)
	send("orders.created", nil, nil, failure)
	in := received(msg)
	in.Value = []byte("value")
	_, first := inst.StartProcess(t.Context(), in)
	first.End(nil)
	ambient, outer := inst.tracer.Start(t.Context(), "ambient")
	_, second := inst.StartProcess(ambient, &sarama.ConsumerMessage{Topic: "orders.created", Partition: 1, Offset: 7, Key: []byte{0xff}})
	second.End(classed{})
	outer.End()
	_, batch := inst.StartBatch(t.Context(), "store orders.created", []trace.SpanContext{first.SpanContext(), second.SpanContext()})
	batch.End(nil)
	_, batch = inst.StartBatch(t.Context(), "publish", []trace.SpanContext{first.SpanContext()})
	batch.End(failure)
}

// TestSpansFollowTheConventions checks every span against docs/messaging/kafka.md and messaging-spans.md of the
// pinned version: "send T" is PRODUCER, for its context is the record's creation context, "process T" is CONSUMER.
func TestSpansFollowTheConventions(t *testing.T) {
	tests := []struct {
		file    string
		options Options
	}{
		{"spans.golden", Options{ConsumerGroup: "paiement-svc"}},
		{"spans-options.golden", Options{ConsumerGroup: "paiement-svc", ClientID: "vigie", BodySize: true, LinkRecords: true}},
		{"spans-nogroup.golden", Options{}},
	}
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			r, inst := newInstrumentation(t, test.options)
			spansOf(t, inst)
			var b strings.Builder
			for _, s := range r.Spans() {
				b.WriteString(describe(s))
			}
			telemetrytest.Golden(t, test.file, b.String())
		})
	}
}

// TestConventionMetricsGolden has the page's lines of every metric of the conventions.
func TestConventionMetricsGolden(t *testing.T) {
	r, inst := newInstrumentation(t, Options{
		ConsumerGroup: "paiement-svc", Produces: []string{"orders.created"}, Consumes: []string{"orders.created"}, Conventions: true,
	})
	telemetrytest.Golden(t, "metrics-start.golden", conventionLines(r))
	spansOf(t, inst)
	inst.CountProduced(t.Context(), "payments.authorized", 5)
	telemetrytest.Golden(t, "metrics.golden", conventionLines(r))
	r.CheckCatalogue()
}

// The variable that moves a whole process to newer conventions moves this package too: spans say which version they follow, and
// the conventions' metrics are there. No name differs yet, so that the spans are the same.
func TestTheNewestConventionsAreAskedForByTheVariable(t *testing.T) {
	for value, want := range map[string]string{
		"": schemaURL, "http": schemaURL, "messaging": newestSchemaURL, "http, messaging/dup": newestSchemaURL,
	} {
		t.Run(value, func(t *testing.T) {
			t.Setenv("OTEL_SEMCONV_STABILITY_OPT_IN", value)
			r, inst := newInstrumentation(t, Options{ConsumerGroup: "paiement-svc"})
			spansOf(t, inst)
			var b strings.Builder
			for _, s := range r.Spans() {
				b.WriteString(describe(s))
				if got := s.InstrumentationScope.SchemaURL; got != want {
					t.Errorf("%s follows %q, want %q", s.Name, got, want)
				}
			}
			telemetrytest.Golden(t, "spans.golden", b.String())
			if has := conventionLines(r) != ""; has != (want == newestSchemaURL) {
				t.Errorf("the conventions' metrics are recorded: %v", has)
			}
		})
	}
}

// conventionLines leaves out what changes with each run: the times.
func conventionLines(r *telemetrytest.Recorder) string {
	var b strings.Builder
	for line := range strings.Lines(r.Page()) {
		if strings.Contains(line, "messaging_") && !strings.Contains(line, "_bucket{") && !strings.Contains(line, "_sum{") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestConventionsAreOffByDefault(t *testing.T) {
	r, inst := newInstrumentation(t, Options{Produces: []string{"orders.created"}, Consumes: []string{"orders.created"}})
	spansOf(t, inst)
	if lines := conventionLines(r); lines != "" {
		t.Errorf("without the option the page has\n%s", lines)
	}
}

func TestConventionDurationsAreTheDocumentedOnes(t *testing.T) {
	r, inst := newInstrumentation(t, Options{Conventions: true})
	_, process := inst.StartProcess(t.Context(), &sarama.ConsumerMessage{Topic: "in"})
	process.End(errors.New("any"))
	if one, other := r.HistogramSum(catalogue.MessagingProcessDuration, nil),
		r.HistogramSum(catalogue.KafkaMessageProcessingDuration, nil); one != other || one <= 0 {
		t.Errorf("messaging.process.duration %v, the documented metric %v", one, other)
	}
}

func TestLinkedRecordsHaveTracesOfTheirOwn(t *testing.T) {
	for _, linked := range []bool{false, true} {
		r, inst := newInstrumentation(t, Options{LinkRecords: linked})
		msg := &sarama.ProducerMessage{Topic: "in"}
		_, send := inst.StartSend(t.Context(), msg)
		send.End(0, 0, nil)
		ambient, outer := inst.tracer.Start(t.Context(), "ambient")
		_, process := inst.StartProcess(ambient, received(msg))
		process.End(nil)
		outer.End()
		span, parent, link := r.Span("process in"), send.SpanContext(), outer.SpanContext()
		if linked {
			parent, link = link, parent
		}
		if span.Parent.SpanID() != parent.SpanID() || span.SpanContext.TraceID() != parent.TraceID() {
			t.Errorf("linked %v: parent %v, want %v", linked, span.Parent.SpanID(), parent.SpanID())
		}
		if len(span.Links) != 1 || span.Links[0].SpanContext.SpanID() != link.SpanID() {
			t.Errorf("linked %v: links %v, want one to %v", linked, span.Links, link.SpanID())
		}
	}
}

func TestErrorTypesCanBeRead(t *testing.T) {
	for want, err := range map[string]error{
		"NOT_ENOUGH_REPLICAS":    fmt.Errorf("send: %w", sarama.ErrNotEnoughReplicas),
		"REQUEST_TIMED_OUT":      sarama.ErrRequestTimedOut,
		"UNKNOWN_PRODUCER_ID":    sarama.KError(59),
		"PRODUCER_FENCED":        sarama.ErrProducerFenced,
		"kafka.-1":               sarama.ErrUnknown,
		"kafka.1000":             sarama.KError(1000),
		"sarama.ErrOutOfBrokers": fmt.Errorf("%w: three tried", sarama.ErrOutOfBrokers),
		"context.Canceled":       context.Canceled,
	} {
		if got := errorType(err).Value.AsString(); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
	}
}
