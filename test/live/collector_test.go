//go:build integration && unix

package live_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
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

// The example of sampling keeps errors and slow orders, and of the rest a tenth;
// the figures of the spans count all.
func TestTailSampling(t *testing.T) {
	const quick = 200
	c := stack.StartCollector(t, "", "tail-sampling.yaml")
	failed, slow := pcommon.TraceID{1}, pcommon.TraceID{2}
	sent := ptrace.NewTraces()
	resource := sent.ResourceSpans().AppendEmpty()
	resource.Resource().Attributes().PutStr("service.name", "commande")
	spans := resource.ScopeSpans().AppendEmpty().Spans()
	add(spans, failed, time.Millisecond).Status().SetCode(ptrace.StatusCodeError)
	add(spans, slow, 1500*time.Millisecond)
	for range quick {
		add(spans, randomTrace(), time.Millisecond)
	}
	text, err := (&ptrace.JSONMarshaler{}).MarshalTraces(sent)
	if err != nil {
		t.Fatal(err)
	}
	post(t, "http://"+c.HTTP+"/v1/traces", text)
	var kept map[pcommon.TraceID]bool
	eventually(t, func(context.Context) error {
		kept, err = keptTraces(c.Spans)
		if err == nil && (!kept[failed] || !kept[slow]) {
			err = fmt.Errorf("of %d kept traces one is the error: %v, the slow one: %v", len(kept), kept[failed], kept[slow])
		}
		return err
	})
	// A binomial number with mean 20 and deviation 4.2.
	if others := len(kept) - 2; others < 1 || others > 60 {
		t.Errorf("%d of %d quick traces are kept, want a tenth", others, quick)
	}
	eventually(t, func(ctx context.Context) error { return counted(ctx, c, quick+2) })
	t.Logf("kept the error, the slow order and %d of %d others", len(kept)-2, quick)
}

func randomTrace() pcommon.TraceID {
	var id pcommon.TraceID
	for i := range id {
		id[i] = byte(rand.Uint32())
	}
	return id
}

// add adds the only span of a trace.
func add(spans ptrace.SpanSlice, trace pcommon.TraceID, took time.Duration) ptrace.Span {
	span, now := spans.AppendEmpty(), time.Now()
	span.SetTraceID(trace)
	span.SetSpanID(pcommon.SpanID{1})
	span.SetName("POST /orders")
	span.SetKind(ptrace.SpanKindServer)
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(now.Add(-took)))
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(now))
	return span
}

// keptTraces are those in the file that the Collector writes; none while there
// is no file.
func keptTraces(path string) (map[pcommon.TraceID]bool, error) {
	batches, err := exportedSpans(path)
	kept := map[pcommon.TraceID]bool{}
	for _, traces := range batches {
		for _, resource := range traces.ResourceSpans().All() {
			for _, scope := range resource.ScopeSpans().All() {
				for _, span := range scope.Spans().All() {
					kept[span.TraceID()] = true
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
