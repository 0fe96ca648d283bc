package otelkafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func newInstrumentation(t testing.TB, options Options) (*telemetrytest.Recorder, *Instrumentation) {
	t.Helper()
	r := telemetrytest.New(t, "shop", nil)
	inst, err := New(WithTelemetry(r.Telemetry), options)
	if err != nil {
		t.Fatal(err)
	}
	return r, inst
}

// received turns a record sent into the one that a consumer reads.
func received(msg *sarama.ProducerMessage) *sarama.ConsumerMessage {
	in := &sarama.ConsumerMessage{Topic: msg.Topic, Partition: 2, Offset: 41}
	for i := range msg.Headers {
		in.Headers = append(in.Headers, &msg.Headers[i])
	}
	if msg.Key != nil {
		in.Key, _ = msg.Key.Encode()
	}
	return in
}

func wantAttributes(t *testing.T, span tracetest.SpanStub, want ...attribute.KeyValue) {
	t.Helper()
	for _, a := range want {
		if !slices.Contains(span.Attributes, a) {
			t.Errorf("span %q lacks %s=%s; it has %v", span.Name, a.Key, a.Value.String(), span.Attributes)
		}
	}
}

func TestCountersStartAtZero(t *testing.T) {
	r, _ := newInstrumentation(t, Options{Produces: []string{"out", "dlq"}, Consumes: []string{"in"}})
	for name, topics := range map[string][]string{
		catalogue.KafkaMessagesProducedTotal: {"out", "dlq"},
		catalogue.KafkaMessagesConsumedTotal: {"in"},
	} {
		for _, topic := range topics {
			if got := r.Metric(name, map[string]string{"topic": topic, "service": "shop"}); got != 0 {
				t.Errorf("%s of %s starts at %v", name, topic, got)
			}
		}
		if got := r.Series(name, nil); got != len(topics) {
			t.Errorf("%s has %d series, want %d", name, got, len(topics))
		}
	}
	r.CheckCatalogue()
}

func TestNewRefusesANamelessTopic(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	for _, options := range []Options{{Produces: []string{""}}, {Consumes: []string{"in", ""}}} {
		if _, err := New(WithTelemetry(r.Telemetry), options); err == nil || !strings.Contains(err.Error(), "no name") {
			t.Errorf("%+v: error %v", options, err)
		}
	}
}

func TestCounts(t *testing.T) {
	r, inst := newInstrumentation(t, Options{})
	inst.CountProduced(t.Context(), "out", 3)
	inst.CountProduced(t.Context(), "out", 2)
	inst.CountConsumed(t.Context(), "in", 7)
	if got := r.Metric(catalogue.KafkaMessagesProducedTotal, map[string]string{"topic": "out"}); got != 5 {
		t.Errorf("produced %v, want 5", got)
	}
	if got := r.Metric(catalogue.KafkaMessagesConsumedTotal, map[string]string{"topic": "in"}); got != 7 {
		t.Errorf("consumed %v, want 7", got)
	}
}

func TestTopicsAreBounded(t *testing.T) {
	r, inst := newInstrumentation(t, Options{})
	const maxTopics = 200
	const n = 3 * maxTopics
	for i := range n {
		inst.CountProduced(t.Context(), fmt.Sprintf("t%d", i), 1)
	}
	if got := r.Series(catalogue.KafkaMessagesProducedTotal, nil); got != maxTopics+1 {
		t.Errorf("%d series, want %d", got, maxTopics+1)
	}
	if got := r.Metric(catalogue.KafkaMessagesProducedTotal, nil); got != n {
		t.Errorf("counted %v, want %d", got, n)
	}
}

func TestSend(t *testing.T) {
	tests := []struct {
		name  string
		err   error
		count float64
		kind  string
	}{
		{"acknowledged", nil, 1, ""},
		{"refused", fmt.Errorf("send: %w", sarama.ErrNotEnoughReplicas), 0, "NOT_ENOUGH_REPLICAS"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, inst := newInstrumentation(t, Options{Produces: []string{"out"}})
			parent, request := inst.tracer.Start(t.Context(), "request")
			msg := &sarama.ProducerMessage{Topic: "out", Key: sarama.StringEncoder("order-1")}
			ctx, send := inst.StartSend(parent, msg)
			if !trace.SpanContextFromContext(ctx).Equal(send.SpanContext()) {
				t.Error("the context does not hold the span")
			}
			send.End(2, 41, test.err)
			request.End()
			span := r.Span("send out")
			if span.SpanKind != trace.SpanKindProducer || span.Parent.SpanID() != request.SpanContext().SpanID() {
				t.Errorf("span of kind %v under %v", span.SpanKind, span.Parent)
			}
			if got := r.Metric(catalogue.KafkaMessagesProducedTotal, map[string]string{"topic": "out"}); got != test.count {
				t.Errorf("counted %v, want %v", got, test.count)
			}
			wantAttributes(t, span,
				attribute.String("messaging.system", "kafka"),
				attribute.String("messaging.destination.name", "out"),
				attribute.String("messaging.operation.name", "send"),
				attribute.String("messaging.operation.type", "send"),
				attribute.String("messaging.kafka.message.key", "order-1"))
			if test.err != nil {
				wantAttributes(t, span, attribute.String("error.type", test.kind))
				if span.Status.Code != codes.Error || span.Status.Description != test.kind {
					t.Errorf("status %+v", span.Status)
				}
				return
			}
			wantAttributes(t, span,
				attribute.String("messaging.destination.partition.id", "2"), attribute.Int("messaging.kafka.offset", 41))
			if span.Status.Code != codes.Unset {
				t.Errorf("status %+v", span.Status)
			}
		})
	}
}

func TestProcessIsAChildOfTheRecord(t *testing.T) {
	r, inst := newInstrumentation(t, Options{ConsumerGroup: "shop-svc"})
	msg := &sarama.ProducerMessage{Topic: "in", Key: sarama.StringEncoder("order-1")}
	member, err := baggage.NewMember("tier", "gold")
	if err != nil {
		t.Fatal(err)
	}
	bag, err := baggage.New(member)
	if err != nil {
		t.Fatal(err)
	}
	_, send := inst.StartSend(baggage.ContextWithBaggage(t.Context(), bag), msg)
	send.End(2, 41, nil)

	batch, batchSpan := inst.tracer.Start(t.Context(), "batch")
	ctx, process := inst.StartProcess(batch, received(msg))
	if got := baggage.FromContext(ctx).Member("tier").Value(); got != "gold" {
		t.Errorf("baggage says %q, want gold", got)
	}
	out := &sarama.ProducerMessage{Topic: "out"}
	_, next := inst.StartSend(ctx, out)
	next.End(0, 0, nil)
	process.End(nil)
	batchSpan.End()

	span := r.Span("process in")
	if span.SpanKind != trace.SpanKindConsumer || span.Parent.SpanID() != send.SpanContext().SpanID() || !span.Parent.IsRemote() {
		t.Errorf("span of kind %v under %v, want the sender's", span.SpanKind, span.Parent)
	}
	if following := r.Span("send out"); following.Parent.SpanID() != span.SpanContext.SpanID() ||
		following.SpanContext.TraceID() != send.SpanContext().TraceID() {
		t.Error("what the handler sends is not in the record's trace")
	}
	wantAttributes(t, span,
		attribute.String("messaging.system", "kafka"),
		attribute.String("messaging.destination.name", "in"),
		attribute.String("messaging.operation.name", "process"),
		attribute.String("messaging.operation.type", "process"),
		attribute.String("messaging.consumer.group.name", "shop-svc"),
		attribute.String("messaging.destination.partition.id", "2"),
		attribute.Int("messaging.kafka.offset", 41),
		attribute.String("messaging.kafka.message.key", "order-1"))
	if got := r.Metric(catalogue.KafkaMessageProcessingDuration, map[string]string{"topic": "in"}); got != 1 {
		t.Errorf("timed %v, want 1", got)
	}
	if span.InstrumentationScope.Name != scope || span.InstrumentationScope.SchemaURL != schemaURL {
		t.Errorf("scope %+v", span.InstrumentationScope)
	}
	if !strings.Contains(r.OpenMetricsPage(), `trace_id="`+send.SpanContext().TraceID().String()) {
		t.Error("no exemplar with the trace's id")
	}
}

func TestRecordWithoutContextIsARoot(t *testing.T) {
	r, inst := newInstrumentation(t, Options{})
	type key struct{}
	batch, span := inst.tracer.Start(context.WithValue(t.Context(), key{}, "kept"), "batch")
	ctx, process := inst.StartProcess(batch, &sarama.ConsumerMessage{Topic: "in"})
	process.End(nil)
	span.End()
	if got := r.Span("process in"); got.Parent.IsValid() || got.SpanContext.TraceID() == span.SpanContext().TraceID() {
		t.Errorf("the record joined the batch: parent %v", got.Parent)
	}
	if ctx.Value(key{}) != "kept" {
		t.Error("values of the parent context are lost")
	}
}

// classed is an error with a class, whose text must not leave the process.
type classed struct{}

func (classed) Error() string     { return "amount 12.50 of user-7" }
func (classed) ErrorType() string { return "reject" }

func TestProcessErrors(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"class", fmt.Errorf("decide: %w", classed{}), "reject"},
		{"kafka", fmt.Errorf("publish: %w", sarama.ErrUnknownProducerID), "UNKNOWN_PRODUCER_ID"},
		{"cancelled", fmt.Errorf("store: %w", context.Canceled), "context.Canceled"},
		{"deadline", fmt.Errorf("store: %w", context.DeadlineExceeded), "context.DeadlineExceeded"},
		{"plain", errors.New("amount 12.50 of user-7"), "*errors.errorString"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, inst := newInstrumentation(t, Options{})
			_, process := inst.StartProcess(t.Context(), &sarama.ConsumerMessage{Topic: "in"})
			process.End(test.err)
			span := r.Span("process in")
			wantAttributes(t, span, attribute.String("error.type", test.want))
			if span.Status.Code != codes.Error || strings.Contains(fmt.Sprintf("%+v", span), "user-7") {
				t.Errorf("span %+v: want an error without its text", span)
			}
			if got := r.Metric(catalogue.KafkaMessageProcessingDuration, nil); got != 1 {
				t.Errorf("timed %v, want 1", got)
			}
		})
	}
}

// hostileKind is an error that calls its kind whatever it likes.
type hostileKind string

func (hostileKind) Error() string       { return "hostile" }
func (k hostileKind) ErrorType() string { return string(k) }

// hostileText returns text of which no two are alike: long, not UTF-8, with quotes, newlines and label syntax.
func hostileText(i int) string {
	switch i % 5 {
	case 0:
		return fmt.Sprintf("t%d", i)
	case 1:
		return fmt.Sprintf("\xff\xfe%d", i)
	case 2:
		return fmt.Sprintf("a\"} 1\n# %d", i)
	case 3:
		if i%100 == 3 { // longer than a label's value may be
			return fmt.Sprint(i, strings.Repeat("x", 2000))
		}
		return fmt.Sprint(i, strings.Repeat("x", i%50))
	default:
		return fmt.Sprintf("topic %d,le=\"1\" é", i)
	}
}

// TestHostileInputsStayWithinTheCatalogue drives every entry point with thousands of values for whatever somebody
// else can choose, and checks every metric against the number of series that the catalogue states.
func TestHostileInputsStayWithinTheCatalogue(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off") // thousands of spans would only be kept
	r := telemetrytest.New(t, "shop", nil)
	const n = 2100 // more than any limit, the SDK's 2,000 too
	reasons := make([]string, 40)
	for i := range reasons {
		reasons[i] = fmt.Sprint("reason", i)
	}
	first, err := New(WithTelemetry(r.Telemetry))
	if err != nil {
		t.Fatal(err)
	}
	failures, err := NewFailures(first, []string{"in"}, reasons)
	if err != nil {
		t.Fatal(err)
	}
	const groups = 10 // more instrumentations than a service has any use for
	for group := range groups {
		inst, err := New(WithTelemetry(r.Telemetry), Options{
			ConsumerGroup: hostileText(group), Produces: []string{"out"}, Consumes: []string{"in"}, Conventions: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := group; i < n; i += groups {
			driveRecords(t, inst, i)
			failures.CountFailed(t.Context(), hostileText(i), reasons[i%len(reasons)])
			failures.CountDeadLettered(t.Context(), hostileText(i), hostileText(i))
			failures.CountDuplicate(t.Context(), hostileText(i))
		}
		driveGroup(t, inst, group)
	}
	driveLag(t, r, n)
	r.CheckCatalogue()
	page := r.Page()
	if strings.Contains(page, "otel_metric_overflow") {
		t.Error("the SDK has folded series")
	}
	for _, m := range r.Catalogue() {
		driven := strings.Contains(page, "\n"+m.Name+"{") || strings.Contains(page, "\n"+m.Name+"_count{")
		if strings.Contains(m.Name, "kafka_") && !driven {
			t.Errorf("%s was not driven", m.Name)
		}
	}
}

// driveRecords sends and handles records of hostile topics that fail in hostile ways.
func driveRecords(t *testing.T, inst *Instrumentation, i int) {
	t.Helper()
	ctx, topic := t.Context(), hostileText(i)
	inst.CountProduced(ctx, topic, 1)
	inst.CountConsumed(ctx, topic, 1)
	for _, err := range []error{nil, hostileKind(hostileText(i * 31)), sarama.KError(i), errors.New("any")} {
		_, send := inst.StartSend(ctx, &sarama.ProducerMessage{Topic: topic})
		send.End(0, 0, err)
		_, process := inst.StartProcess(ctx, &sarama.ConsumerMessage{Topic: topic, Timestamp: time.Unix(1, 0)})
		process.End(err)
	}
}

// driveGroup gives a member hostile claims, and sarama's registry as many brokers and groups as there can be.
func driveGroup(t *testing.T, inst *Instrumentation, group int) {
	t.Helper()
	rebalances, err := NewRebalances(inst)
	if err != nil {
		t.Fatal(err)
	}
	claims := make(map[string][]int32)
	for i := group; i < 3000; i += 10 {
		claims[hostileText(i)] = []int32{int32(i)}
	}
	lost, session := newScriptedSession(t, 1, claims), newScriptedSession(t, 2, claims)
	if err := rebalances.Setup(lost); err != nil {
		t.Fatal(err)
	}
	lost.end(sarama.KError(group))
	if err := errors.Join(rebalances.Cleanup(lost), rebalances.Setup(session)); err != nil {
		t.Fatal(err)
	}
	committed, err := rebalances.timeCommits()
	if err != nil {
		t.Fatal(err)
	}
	committed(time.Second)
	registry := metrics.NewRegistry()
	if _, err := ObserveSarama(inst, fmt.Sprint("client", group), registry); err != nil {
		if group < catalogue.MaxSaramaClients {
			t.Error(err)
		}
		return
	}
	for i := range 200 {
		id := group*1000 + i
		for _, name := range []string{"request-rate", "consumer-fetch-rate", "outgoing-byte-rate", "incoming-byte-rate"} {
			mark(registry, fmt.Sprintf("%s-for-broker-%d", name, id), 1)
		}
		sample(registry, fmt.Sprintf("request-latency-in-ms-for-broker-%d", id), 1)
		sample(registry, fmt.Sprintf("throttle-time-in-ms-for-broker-%d", id), 1)
		metrics.GetOrRegisterCounter(fmt.Sprintf("requests-in-flight-for-broker-%d", id), registry).Inc(1)
		metrics.GetOrRegisterCounter("consumer-group-join-total-"+hostileText(i), registry).Inc(1)
		metrics.GetOrRegisterCounter("consumer-group-join-failed-"+hostileText(i), registry).Inc(1)
	}
	for _, name := range []string{"batch-size", "records-per-request", "compression-ratio"} {
		sample(registry, name, 1)
	}
	mark(registry, "record-send-rate", 1)
	t.Cleanup(registry.UnregisterAll)
}

// driveLag assigns more partitions than one instance has series for.
func driveLag(t *testing.T, r *telemetrytest.Recorder, n int) {
	t.Helper()
	inst, err := New(WithTelemetry(r.Telemetry), Options{})
	if err != nil {
		t.Fatal(err)
	}
	lag, err := NewLagFrom(inst, nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		lag.Assign("in", int32(i), 0)
		lag.Advance("in", int32(i), 1, time.Unix(1, 0))
	}
}
