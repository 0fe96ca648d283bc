package telemetry_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/otel/baggage"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry"
)

func setUp(t *testing.T, processors ...sdktrace.SpanProcessor) trace.Tracer {
	t.Helper()
	return setUpAll(t, processors...).TracerProvider().Tracer("test")
}

func setUpAll(t *testing.T, processors ...sdktrace.SpanProcessor) *telemetry.Telemetry {
	t.Helper()
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{Service: "test", SpanProcessors: processors})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tel.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return tel
}

// Without anybody to read them, spans carry context and record nothing; what
// is seen from outside is the same as with the SDK.
func TestSpansThatGoNowhereCarryContextAlike(t *testing.T) {
	remote := func(flags trace.TraceFlags) context.Context {
		return trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: flags, Remote: true,
		}))
	}
	for name, tracer := range map[string]trace.Tracer{
		"idle": setUp(t), "SDK": setUp(t, tracetest.NewSpanRecorder()),
	} {
		t.Run(name, func(t *testing.T) {
			if _, s := tracer.Start(t.Context(), "work"); s.IsRecording() != (name == "SDK") {
				t.Errorf("recording: %v", s.IsRecording())
			}
			seen := map[trace.SpanID]bool{}
			for range 1000 {
				ctx, s := tracer.Start(t.Context(), "root")
				sc := s.SpanContext()
				if !sc.IsValid() || !sc.IsSampled() || sc.IsRemote() || seen[sc.SpanID()] || trace.SpanContextFromContext(ctx).SpanID() != sc.SpanID() {
					t.Fatalf("root %+v", sc)
				}
				seen[sc.SpanID()] = true
				_, child := tracer.Start(ctx, "child")
				if got := child.SpanContext(); got.TraceID() != sc.TraceID() || got.SpanID() == sc.SpanID() || !got.IsSampled() {
					t.Fatalf("child %+v of %+v", got, sc)
				}
			}
			for _, flags := range []trace.TraceFlags{0, trace.FlagsSampled} {
				_, s := tracer.Start(remote(flags), "child")
				if got := s.SpanContext(); got.TraceID() != (trace.TraceID{1}) || got.IsSampled() != flags.IsSampled() || got.IsRemote() {
					t.Errorf("child of a remote parent with flags %v: %+v", flags, got)
				}
				_, s = tracer.Start(remote(flags), "root", trace.WithNewRoot())
				if got := s.SpanContext(); got.TraceID() == (trace.TraceID{1}) || !got.IsSampled() {
					t.Errorf("new root: %+v", got)
				}
			}
		})
	}
}

// A request's trace goes on in its handler, whether or not spans are recorded.
func TestRequestsContinueTheirTraceAlike(t *testing.T) {
	const header = "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01"
	for name, tel := range map[string]*telemetry.Telemetry{
		"idle": setUpAll(t), "SDK": setUpAll(t, tracetest.NewSpanRecorder()),
	} {
		t.Run(name, func(t *testing.T) {
			var seen trace.SpanContext
			var tenant string
			handler := telemetry.HTTPMiddleware(tel, nil)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				seen, tenant = trace.SpanContextFromContext(r.Context()), baggage.FromContext(r.Context()).Member("tenant").Value()
			}))
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("traceparent", header)
			r.Header.Set("tracestate", "vendor=1")
			r.Header.Set("baggage", "tenant=blue")
			handler.ServeHTTP(httptest.NewRecorder(), r)
			if seen.TraceID().String() != header[3:35] || seen.SpanID().String() == header[36:52] || !seen.IsValid() || seen.IsRemote() ||
				!seen.IsSampled() || seen.TraceState().Get("vendor") != "1" || tenant != "blue" {
				t.Errorf("handler's span %+v, tenant %q", seen, tenant)
			}
			handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
			if !seen.IsValid() || seen.TraceID().String() == header[3:35] {
				t.Errorf("a request without a trace starts one, have %+v", seen)
			}
		})
	}
}

// A sampler that was asked for is the SDK's to apply.
func TestASamplerThatWasAskedForIsUsed(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	if _, s := setUp(t).Start(t.Context(), "work"); s.SpanContext().IsSampled() {
		t.Error("always_off sampled a span")
	}
}
