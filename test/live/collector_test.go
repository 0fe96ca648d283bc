//go:build integration && unix

package live_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/vigie-dev/vigie/internal/testenv/servers"
	"github.com/vigie-dev/vigie/internal/testenv/stack"
)

// The Collector reads what is shipped, in every combination that make start
// makes of it. It knows all but the exporters that it lacks here.
func TestTheCollectorReadsItsConfiguration(t *testing.T) {
	const sampling, zipkin, elastic = "tail-sampling.yaml", "zipkin.yaml", "elasticsearch.yaml"
	for _, merged := range [][]string{{}, {sampling}, {zipkin}, {elastic}, {zipkin, elastic, sampling}} {
		configs := []string{stack.CollectorConfig(t)}
		for _, name := range merged {
			configs = append(configs, stack.CollectorConfig(t, name))
		}
		complaint, ok := servers.ValidateCollector(t, configs...)
		switch {
		case ok:
		case strings.Contains(complaint, "'exporters' unknown type: ") && strings.Count(complaint, "unknown type") == 1:
			t.Logf("%v is read as far as the exporter that cannot be had here: %s", merged, complaint)
		default:
			t.Errorf("%v: %s", merged, complaint)
		}
	}
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte("service: {pipelines: {traces: {processors: [unheard-of]}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if complaint, ok := servers.ValidateCollector(t, stack.CollectorConfig(t), broken); ok {
		t.Errorf("a pipeline with a processor that there is not is taken: %q", complaint)
	}
}

// The example of sampling keeps errors, slow orders and those that are not finished
// when it decides, with what shows much later why, and of the rest a tenth; the
// figures of the spans count all.
func TestTailSampling(t *testing.T) {
	const quick = 200
	c := stack.StartCollector(t, "", "tail-sampling.yaml")
	failed, slow, waits, uncounted := pcommon.TraceID{1}, pcommon.TraceID{2}, pcommon.TraceID{3}, pcommon.TraceID{4}
	sent := newSpans()
	sent.add("commande", failed, placed, time.Millisecond).Status().SetCode(ptrace.StatusCodeError)
	sent.add("commande", slow, placed, 1500*time.Millisecond)
	for _, order := range []pcommon.TraceID{waits, uncounted} {
		sent.accept(order)
	}
	sent.add("suivi", uncounted, "process payments.authorized", time.Millisecond)
	for range quick {
		order := randomTrace()
		sent.accept(order)
		sent.add("suivi", order, "process payments.authorized", time.Millisecond)
		sent.add("analyseur", order, "process payments.authorized", time.Millisecond)
	}
	sent.post(t, c)
	var kept map[pcommon.TraceID][]string
	eventually(t, func(context.Context) (err error) {
		kept, err = keptTraces(c.Spans)
		for what, order := range map[string]pcommon.TraceID{"the error": failed, "the slow one": slow, "the one that waits": waits, "the one that is not counted": uncounted} {
			if err == nil && kept[order] == nil {
				err = fmt.Errorf("of %d kept traces none is %s", len(kept), what)
			}
		}
		return err
	})
	// A binomial number with mean 20 and deviation 4.2.
	if others := len(kept) - 4; others < 1 || others > 60 {
		t.Errorf("%d of %d quick traces are kept, want a tenth", others, quick)
	}
	late := newSpans()
	late.add("paiement", waits, "process orders.created", 15*time.Second)
	late.post(t, c)
	eventually(t, func(context.Context) error {
		kept, err := keptTraces(c.Spans)
		if err == nil && !slices.Contains(kept[waits], "process orders.created") {
			err = fmt.Errorf("the late span is not kept: %v", kept[waits])
		}
		return err
	})
	eventually(t, func(ctx context.Context) error { return counted(ctx, c, 3*quick+6) })
	t.Logf("kept the error, the slow order, the unfinished ones and %d of %d others", len(kept)-4, quick)
}

// What a destination cannot take waits on the disk, and goes out when it is back, though
// the Collector was restarted meanwhile; its metrics tell that something waits.
func TestTheQueueOutlivesTheCollector(t *testing.T) {
	destination := stack.StartCollector(t, "")
	destination.Kill()
	c := stack.StartCollector(t, destination.GRPC)
	order := randomTrace()
	sent := newSpans()
	sent.accept(order)
	sent.post(t, c)
	waits := map[string]string{"exporter": "otlp_grpc/jaeger", "data_type": "traces"}
	eventually(t, func(ctx context.Context) error {
		page, err := metricsOf(ctx, c.Metrics)
		if err == nil && (total(page, "otelcol_exporter_queue_size", waits) < 1 || total(page, "otelcol_exporter_queue_capacity", waits) != 20000) {
			err = errors.New("nothing waits, as the metrics say")
		}
		return err
	})
	if err := c.Stop(t.Context()); err != nil {
		t.Logf("the Collector's stop: %v", err) // it could not send what it had
	}
	destination.Restart(t)
	c.Restart(t)
	eventually(t, func(context.Context) error {
		arrived, err := keptTraces(destination.Spans)
		if err == nil && arrived[order] == nil {
			err = errors.New("what waited has not arrived")
		}
		return err
	})
}

func randomTrace() pcommon.TraceID {
	var id pcommon.TraceID
	for i := range id {
		id[i] = byte(rand.Uint32())
	}
	return id
}

// spans are what services send.
type spans struct {
	traces ptrace.Traces
	of     map[string]ptrace.SpanSlice
}

func newSpans() *spans { return &spans{ptrace.NewTraces(), map[string]ptrace.SpanSlice{}} }

// placed is the name of the span of a request that places an order.
const placed = "POST /orders"

// add adds a service's span, which has just ended.
func (s *spans) add(service string, trace pcommon.TraceID, name string, took time.Duration) ptrace.Span {
	all, known := s.of[service]
	if !known {
		resource := s.traces.ResourceSpans().AppendEmpty()
		resource.Resource().Attributes().PutStr("service.name", service)
		all = resource.ScopeSpans().AppendEmpty().Spans()
		s.of[service] = all
	}
	span, id, now := all.AppendEmpty(), randomTrace(), time.Now()
	span.SetTraceID(trace)
	span.SetSpanID(pcommon.SpanID(id[:8]))
	span.SetName(name)
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(now.Add(-took)))
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(now))
	return span
}

// accept adds the span of an order that was accepted at once.
func (s *spans) accept(order pcommon.TraceID) {
	s.add("commande", order, placed, time.Millisecond).Attributes().PutInt("http.response.status_code", 201)
}

func (s *spans) post(t *testing.T, c *stack.Collector) {
	t.Helper()
	text, err := (&ptrace.JSONMarshaler{}).MarshalTraces(s.traces)
	if err != nil {
		t.Fatal(err)
	}
	post(t, "http://"+c.HTTP+"/v1/traces", text)
}

// keptTraces are those in the file that the Collector writes, each with the names of its
// spans; none while there is no file.
func keptTraces(path string) (map[pcommon.TraceID][]string, error) {
	batches, err := exportedSpans(path)
	kept := map[pcommon.TraceID][]string{}
	for _, traces := range batches {
		for _, resource := range traces.ResourceSpans().All() {
			for _, scope := range resource.ScopeSpans().All() {
				for _, span := range scope.Spans().All() {
					kept[span.TraceID()] = append(kept[span.TraceID()], span.Name())
				}
			}
		}
	}
	return kept, err
}

// counted says whether the Collector's metrics of spans count all of them.
func counted(ctx context.Context, c *stack.Collector, want int) error {
	page, err := metricsOf(ctx, c.SpanMetrics)
	if err != nil {
		return err
	}
	if got := total(page, "traces_span_metrics_duration_seconds", nil); got != float64(want) {
		return fmt.Errorf("the figures count %v spans, want %d", got, want)
	}
	return nil
}
