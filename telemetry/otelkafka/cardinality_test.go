package otelkafka

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

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
		return strings.Repeat("x", i)
	default:
		return fmt.Sprintf("topic %d,le=\"1\" é", i)
	}
}

// TestHostileInputsStayWithinTheCatalogue drives every entry point with thousands of values for whatever somebody
// else can choose, and holds every metric against the number of series that the catalogue states.
func TestHostileInputsStayWithinTheCatalogue(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off") // thousands of spans would only be kept
	r := telemetrytest.New(t, "shop", nil)
	const n = 3000
	reasons := make([]string, 40)
	for i := range reasons {
		reasons[i] = fmt.Sprint("reason", i)
	}
	failures, err := NewFailures(r.Telemetry, []string{"in"}, reasons)
	if err != nil {
		t.Fatal(err)
	}
	const groups = 20 // more instrumentations than a service has any use for
	for group := range groups {
		inst, err := New(r.Telemetry, Options{
			ConsumerGroup: hostileText(group), Produces: []string{"out"}, Consumes: []string{"in"}, Conventions: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := group; i < n; i += groups {
			driveRecords(t, inst, i)
			failures.Failed(t.Context(), hostileText(i), reasons[i%len(reasons)])
			failures.DeadLettered(t.Context(), hostileText(i), hostileText(i))
			failures.Duplicate(t.Context(), hostileText(i))
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
	inst.Produced(ctx, topic, 1)
	inst.Consumed(ctx, topic, 1)
	for _, err := range []error{nil, hostileKind(hostileText(i * 31)), sarama.KError(i), errors.New("any")} {
		_, send := inst.StartSend(ctx, &sarama.ProducerMessage{Topic: topic})
		send.End(0, 0, err)
		_, process := inst.StartProcess(ctx, &sarama.ConsumerMessage{Topic: topic})
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
	registry := metrics.NewRegistry()
	if _, err := ObserveSarama(inst, fmt.Sprint("client", group), registry); err != nil {
		if group < telemetry.MaxSaramaClients {
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
	inst, err := New(r.Telemetry, Options{})
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
