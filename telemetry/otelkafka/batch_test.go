package otelkafka

import (
	"fmt"
	"testing"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// processed makes the spans of n records, each in a trace of its own.
func processed(t *testing.T, inst *Instrumentation, n int) []trace.SpanContext {
	t.Helper()
	all := make([]trace.SpanContext, n)
	for i := range all {
		_, process := inst.StartProcess(t.Context(), &sarama.ConsumerMessage{Topic: "in"})
		process.End(nil)
		all[i] = process.SpanContext()
	}
	return all
}

// named returns the ended spans of a name.
func named(spans tracetest.SpanStubs, name string) (found tracetest.SpanStubs) {
	for _, s := range spans {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found
}

// A batch's span links its records, and each record's trace has a span of the same name, time and status.
func TestBatchIsToldInItsRecordsTraces(t *testing.T) {
	for name, failure := range map[string]error{"success": nil, "failure": fmt.Errorf("store: %w", classed{})} {
		t.Run(name, func(t *testing.T) {
			r, inst := newInstrumentation(t, Options{})
			records := processed(t, inst, 3)
			_, span := inst.StartBatch(t.Context(), "store", append(records, trace.SpanContext{}), attribute.String("k", "v"))
			span.End(failure)
			all := named(r.Spans(), "store")
			if len(all) != 4 {
				t.Fatalf("%d spans, want the batch's and three records'", len(all))
			}
			batch, echoes := all[0], all[1:]
			if batch.SpanKind != trace.SpanKindInternal || batch.Parent.IsValid() || len(batch.Links) != 3 ||
				batch.SpanContext.SpanID() != span.SpanContext().SpanID() {
				t.Errorf("the batch's span %+v: want a root with three links", batch)
			}
			wantAttributes(t, batch, attribute.String("k", "v"), attribute.Int("messaging.batch.message_count", 4))
			for i, echo := range echoes {
				if batch.Links[i].SpanContext.SpanID() != records[i].SpanID() {
					t.Errorf("link %d goes to %v", i, batch.Links[i].SpanContext)
				}
				if echo.Parent.SpanID() != records[i].SpanID() || echo.SpanContext.TraceID() != records[i].TraceID() || echo.SpanKind != trace.SpanKindInternal {
					t.Errorf("record %d: span %+v is no child of its process span", i, echo)
				}
				if len(echo.Links) != 1 || echo.Links[0].SpanContext.SpanID() != batch.SpanContext.SpanID() {
					t.Errorf("record %d: links %v, want one to the batch", i, echo.Links)
				}
				if !echo.StartTime.Equal(batch.StartTime) || !echo.EndTime.Equal(batch.EndTime) || echo.EndTime.Before(echo.StartTime) {
					t.Errorf("record %d: from %v to %v, the batch from %v to %v", i, echo.StartTime, echo.EndTime, batch.StartTime, batch.EndTime)
				}
				if echo.Status != batch.Status || (echo.Status.Code == codes.Error) != (failure != nil) {
					t.Errorf("record %d: status %+v, the batch's is %+v", i, echo.Status, batch.Status)
				}
				wantAttributes(t, echo, attribute.String("k", "v"))
			}
		})
	}
}

// unsampled are n contexts of traces that nobody keeps.
func unsampled(n int) (all []trace.SpanContext) {
	for i := range n {
		all = append(all, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1, byte(i >> 8), byte(i)}, SpanID: trace.SpanID{1, byte(i >> 8), byte(i)},
		}))
	}
	return all
}

// A batch is kept if one of its records is, wherever that record stands among hundreds, and tells that one alone.
func TestBatchFollowsItsRecords(t *testing.T) {
	kept := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{2}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	for _, sampler := range []string{"", "parentbased_always_off", "parentbased_traceidratio"} {
		for name, test := range map[string]struct {
			records []trace.SpanContext
			echoes  int
			sampled bool
		}{
			"one first":  {append([]trace.SpanContext{kept}, unsampled(499)...), 1, true},
			"one last":   {append(unsampled(499), kept), 1, true},
			"none":       {unsampled(500), 0, false},
			"none valid": {make([]trace.SpanContext, 2), 0, sampler == ""},
		} {
			t.Run(sampler+" "+name, func(t *testing.T) {
				if sampler != "" {
					t.Setenv("OTEL_TRACES_SAMPLER", sampler)
					t.Setenv("OTEL_TRACES_SAMPLER_ARG", "0")
				}
				r, inst := newInstrumentation(t, Options{})
				_, span := inst.StartBatch(t.Context(), "store", test.records)
				span.End(nil)
				all := r.Spans()
				if span.SpanContext().IsSampled() != test.sampled {
					t.Fatalf("sampled: %v, want %v", span.SpanContext().IsSampled(), test.sampled)
				}
				if !test.sampled {
					if len(all) != 0 {
						t.Errorf("%d spans of a batch that is not sampled", len(all))
					}
					return
				}
				if len(all) != 1+test.echoes || len(all[0].Links) != test.echoes {
					t.Fatalf("%d spans, the first with %d links, want %d records' spans", len(all), len(all[0].Links), test.echoes)
				}
				if test.echoes == 1 && all[1].Parent.SpanID() != kept.SpanID() {
					t.Errorf("the span is in %v", all[1].Parent)
				}
			})
		}
	}
}

// Where nothing is recorded, a batch's span carries its context and makes no others.
func TestBatchThatNobodyReads(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	r, inst := newInstrumentation(t, Options{})
	records := processed(t, inst, 2)
	_, span := inst.StartBatch(t.Context(), "store", records)
	span.End(nil)
	if !span.SpanContext().IsValid() || span.SpanContext().IsSampled() || len(r.Spans()) != 0 {
		t.Errorf("context %+v, %d spans", span.SpanContext(), len(r.Spans()))
	}
}

// A batch in a caller's span is that span's child, decided as it is.
func TestBatchInASpanIsItsChild(t *testing.T) {
	r, inst := newInstrumentation(t, Options{})
	ctx, outer := inst.tracer.Start(t.Context(), "request")
	_, span := inst.StartBatch(ctx, "store", unsampled(2))
	span.End(nil)
	outer.End()
	if got := r.Span("store"); got.Parent.SpanID() != outer.SpanContext().SpanID() {
		t.Errorf("parent %v", got.Parent)
	}
}
