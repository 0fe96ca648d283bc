package telemetry_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// sampled says whether a span that starts so is.
func sampled(ctx context.Context, tracer trace.Tracer, options ...trace.SpanStartOption) bool {
	_, span := tracer.Start(ctx, "work", options...)
	defer span.End()
	return span.SpanContext().IsSampled()
}

// wantShare starts many spans, of which about that many in a thousand are to be sampled.
func wantShare(t *testing.T, what string, want int, start func(i int) bool) {
	t.Helper()
	const n = 2000
	got := 0
	for i := range n {
		if start(i) {
			got++
		}
	}
	if got = got * 1000 / n; got < want-60 || got > want+60 { // six standard deviations
		t.Errorf("%s: %d of 1000 are sampled, want %d", what, got, want)
	}
}

// spanContext is the context of another span: its trace id is like no other, for samplers that look at it.
func spanContext(i int, flags trace.TraceFlags) trace.SpanContext {
	id := trace.TraceID{1}
	id[8], id[9] = byte(i*7), byte(i*13) // the half that a ratio looks at
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{1}, TraceFlags: flags, Remote: true})
}

// What each sampler says of roots, of children, and of roots with links, against the SDK's own reading of the variables.
func TestSamplersOfTheEnvironment(t *testing.T) {
	tests := []struct {
		sampler, argument string
		root              int // thousandths, give or take 60
		unsampled         int // children of a parent that is not sampled, and roots that link one
		sampled           int // children of a parent that is, and roots that link one
		warns             string
	}{
		{sampler: "", root: 1000, unsampled: 0, sampled: 1000},
		{sampler: "always_on", root: 1000, unsampled: 1000, sampled: 1000},
		{sampler: "always_off", root: 0, unsampled: 0, sampled: 0},
		{sampler: "traceidratio", argument: "0.25", root: 250, unsampled: 250, sampled: 250},
		{sampler: "traceidratio", root: 1000, unsampled: 1000, sampled: 1000},
		{sampler: "parentbased_always_on", root: 1000, unsampled: 0, sampled: 1000},
		{sampler: "parentbased_always_off", root: 0, unsampled: 0, sampled: 1000},
		{sampler: " ParentBased_TraceIDRatio ", argument: " 0.25 ", root: 250, unsampled: 0, sampled: 1000},
		{sampler: "parentbased_traceidratio", root: 1000, unsampled: 0, sampled: 1000},
		{sampler: "parentbased_traceidratio", argument: "0", root: 0, unsampled: 0, sampled: 1000},
		{sampler: "parentbased_traceidratio", argument: "1.5", root: 1000, unsampled: 0, sampled: 1000, warns: "out of range"},
		{sampler: "parentbased_traceidratio", argument: "-1", root: 1000, unsampled: 0, sampled: 1000, warns: "out of range"},
		{sampler: "parentbased_traceidratio", argument: "NaN", root: 1000, unsampled: 0, sampled: 1000, warns: "out of range"},
		{sampler: "traceidratio", argument: "some", root: 1000, unsampled: 1000, sampled: 1000, warns: `OTEL_TRACES_SAMPLER_ARG \"some\"`},
		{sampler: "jaeger_remote", root: 1000, unsampled: 0, sampled: 1000, warns: `OTEL_TRACES_SAMPLER \"jaeger_remote\"`},
		{sampler: "parentbased_", root: 1000, unsampled: 0, sampled: 1000, warns: "no sampler of that name"},
	}
	for _, test := range tests {
		t.Run(test.sampler+" "+test.argument, func(t *testing.T) {
			t.Setenv("OTEL_TRACES_SAMPLER", test.sampler)
			t.Setenv("OTEL_TRACES_SAMPLER_ARG", test.argument)
			r := telemetrytest.New(t, "a", nil)
			tracer := r.TracerProvider().Tracer("test")
			wantShare(t, "root", test.root, func(int) bool { return sampled(context.Background(), tracer) })
			for flags, want := range map[trace.TraceFlags]int{0: test.unsampled, trace.FlagsSampled: test.sampled} {
				child := func(i int) bool {
					return sampled(trace.ContextWithRemoteSpanContext(context.Background(), spanContext(i, flags)), tracer)
				}
				wantShare(t, fmt.Sprintf("child of flags %v", flags), want, child)
				for i := range 300 {
					linked := trace.WithLinks(trace.Link{SpanContext: spanContext(i, flags)})
					if got, want := sampled(context.Background(), tracer, linked), child(i); got != want {
						t.Fatalf("a root with link %d of flags %v is sampled: %v, a child: %v", i, flags, got, want)
					}
				}
			}
			if test.warns == "" {
				asTheSDK(t, tracer)
			}
			warned := ""
			for _, line := range r.Logs() {
				warned += fmt.Sprintf("%v %q\n", line["level"], line["error"])
			}
			if (test.warns == "") != (warned == "") || !strings.Contains(warned, test.warns) || warned != "" && !strings.Contains(warned, "WARN") {
				t.Errorf("the log says %q, want %q", warned, test.warns)
			}
		})
	}
}

// asTheSDK holds what a tracer samples against what the SDK makes of the same variables.
func asTheSDK(t *testing.T, ours trace.Tracer) {
	t.Helper()
	sdk := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(tracetest.NewSpanRecorder())).Tracer("test")
	for i := range 600 {
		flags := trace.TraceFlags(i % 2)
		ctx := trace.ContextWithRemoteSpanContext(t.Context(), spanContext(i/2, flags))
		if got, want := sampled(ctx, ours), sampled(ctx, sdk); got != want {
			t.Fatalf("child %d of flags %v: sampled %v, by the SDK %v", i/2, flags, got, want)
		}
	}
}

// A root follows its links; a child follows its parent, whatever it links.
func TestLinksAreFollowedByRootsAlone(t *testing.T) {
	r := telemetrytest.New(t, "a", nil)
	tracer := r.TracerProvider().Tracer("test")
	links := trace.WithLinks(trace.Link{SpanContext: spanContext(1, 0)}, trace.Link{SpanContext: spanContext(2, trace.FlagsSampled)})
	ctx := trace.ContextWithRemoteSpanContext(t.Context(), spanContext(3, 0))
	if sampled(ctx, tracer, links) {
		t.Error("a child of an unsampled parent follows its links")
	}
	_, root := tracer.Start(ctx, "root", trace.WithNewRoot(), links)
	defer root.End()
	if !root.SpanContext().IsSampled() || root.SpanContext().TraceID() == spanContext(2, 0).TraceID() {
		t.Errorf("a root of which one link is sampled: %+v", root.SpanContext())
	}
	state, err := trace.ParseTraceState("vendor=1")
	if err != nil {
		t.Fatal(err)
	}
	linked := trace.Link{SpanContext: spanContext(2, trace.FlagsSampled).WithTraceState(state)}
	_, root = tracer.Start(t.Context(), "root", trace.WithLinks(linked))
	defer root.End()
	if root.SpanContext().TraceState().Len() != 0 {
		t.Error("a root takes the trace state of its link")
	}
}

// The sampler's setting that is ignored is told in the service's log.
func TestAnIgnoredSamplerIsLogged(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "sometimes")
	var log bytes.Buffer
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{Service: "a", LogWriter: &log, LogFormat: telemetry.LogJSON})
	if err != nil {
		t.Fatal(err)
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), `"WARN"`) || !strings.Contains(log.String(), "sometimes") {
		t.Errorf("the log says %s", log.String())
	}
}
