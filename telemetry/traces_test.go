package telemetry_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
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

// asTheSDK checks what a tracer samples against what the SDK makes of the same variables.
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

// The sampler's setting that is ignored is logged by the service.
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

// Without anybody to read them, spans carry context and record nothing; what is seen from outside is the same as with the
// SDK, but that traces which begin here are not sampled unless that is asked for: who would find their start?
func TestSpansThatGoNowhereCarryContextAlike(t *testing.T) {
	asked, err := telemetry.Setup(t.Context(), telemetry.Config{Service: "test", SampleUnrecorded: true})
	if err != nil {
		t.Fatal(err)
	}
	remote := func(flags trace.TraceFlags) context.Context {
		return trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: flags, Remote: true,
		}))
	}
	for name, tracer := range map[string]trace.Tracer{
		"idle": setUp(t), "SDK": setUp(t, tracetest.NewSpanRecorder()), "asked": asked.TracerProvider().Tracer("test"),
	} {
		t.Run(name, func(t *testing.T) {
			sampled := name != "idle"
			if _, s := tracer.Start(t.Context(), "work"); s.IsRecording() != (name == "SDK") {
				t.Errorf("recording: %v", s.IsRecording())
			}
			seen := map[trace.SpanID]bool{}
			for range 1000 {
				ctx, s := tracer.Start(t.Context(), "root")
				sc := s.SpanContext()
				if !sc.IsValid() || sc.IsSampled() != sampled || sc.IsRemote() || seen[sc.SpanID()] || trace.SpanContextFromContext(ctx).SpanID() != sc.SpanID() {
					t.Fatalf("root %+v", sc)
				}
				seen[sc.SpanID()] = true
				_, child := tracer.Start(ctx, "child")
				if got := child.SpanContext(); got.TraceID() != sc.TraceID() || got.SpanID() == sc.SpanID() || got.IsSampled() != sampled {
					t.Fatalf("child %+v of %+v", got, sc)
				}
			}
			for _, flags := range []trace.TraceFlags{0, trace.FlagsSampled} {
				_, s := tracer.Start(remote(flags), "child")
				if got := s.SpanContext(); got.TraceID() != (trace.TraceID{1}) || got.IsSampled() != flags.IsSampled() || got.IsRemote() {
					t.Errorf("child of a remote parent with flags %v: %+v", flags, got)
				}
				_, s = tracer.Start(remote(flags), "root", trace.WithNewRoot())
				if got := s.SpanContext(); got.TraceID() == (trace.TraceID{1}) || got.IsSampled() != sampled {
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
			handler := telemetry.HTTPMiddleware(tel, nil, telemetry.WithBaggage())(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
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

// Text that somebody else chooses is cut: spans wait in memory, and collectors refuse large batches.
func TestTextOfSpansIsBounded(t *testing.T) {
	for limit, want := range map[string]int{"": 4096, "10": 10, "20000": 10_000} {
		t.Setenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", limit)
		r := telemetrytest.New(t, "shop", nil)
		_, span := r.TracerProvider().Tracer("test").Start(t.Context(), "work", trace.WithAttributes(attribute.String("k", strings.Repeat("x", 10_000))))
		span.End()
		if got := len(r.Span("work").Attributes[0].Value.AsString()); got != want {
			t.Errorf("limit %q leaves %d characters, want %d", limit, got, want)
		}
	}
}

// A sampler that was asked for is the SDK's to apply.
func TestAConfiguredSamplerIsUsed(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	if _, s := setUp(t).Start(t.Context(), "work"); s.SpanContext().IsSampled() {
		t.Error("always_off sampled a span")
	}
}

// What a client sends as baggage travels on within its bound, and is in no span.
func TestBaggageOfClients(t *testing.T) {
	var members []string
	for i := range 70 {
		members = append(members, fmt.Sprintf("k%d=marked", i))
	}
	var errs []error // what goes to the global handler, and from there to standard error
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { errs = append(errs, err) }))
	for name, test := range map[string]struct {
		sent    []string
		members int
	}{
		"some":                      {[]string{"tenant=marked,user=marked"}, 2},
		"too long a member":         {[]string{"tenant=" + strings.Repeat("marked", 2000)}, 0},
		"too many bytes altogether": {[]string{"a=" + strings.Repeat("marked", 1000), "b=" + strings.Repeat("marked", 1000)}, 0},
		"too many members":          {[]string{strings.Join(members, ",")}, 64},
		"several headers":           {[]string{"tenant=blue", "user=marked"}, 2},
		"malformed":                 {[]string{"user marked"}, 0},
		"malformed in part":         {[]string{"user marked,tenant=blue"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := telemetrytest.New(t, "shop", nil)
			var carried string
			trusted := telemetry.HTTPMiddleware(r.Telemetry, nil, telemetry.WithBaggage())
			handler := trusted(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				carrier := propagation.MapCarrier{}
				r.Propagator().Inject(req.Context(), carrier)
				carried = carrier["baggage"]
				r.Logger().InfoContext(req.Context(), "handled")
			}))
			req := httptest.NewRequest(http.MethodPost, "/orders", nil)
			req.Header["Baggage"] = test.sent
			handler.ServeHTTP(httptest.NewRecorder(), req)
			if got := strings.Count(carried, "="); got != test.members || len(carried) > 8192 {
				t.Errorf("%d members in %d bytes travel on, want %d", got, len(carried), test.members)
			}
			if text := fmt.Sprintf("%+v %+v %s", r.Spans(), r.Logs(), r.OpenMetricsPage()); strings.Contains(text, "marked") || !strings.Contains(text, "handled") {
				t.Errorf("baggage is in a signal: %s", text)
			}
		})
	}
	if len(errs) > 0 {
		t.Errorf("reported to the global handler: %v", errs)
	}
}

// Header fields that come several times mean what W3C Trace Context says: tracestate is one list, two traceparents are
// none; the trace goes on with the request, whether spans are recorded or not.
func TestHeaderFieldsThatComeSeveralTimes(t *testing.T) {
	const one, other = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01", "00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-01"
	recorder := telemetrytest.New(t, "shop", nil)
	idle, err := telemetry.Setup(t.Context(), telemetry.Config{Service: "shop", LogWriter: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = idle.Shutdown(t.Context()) }()
	for name, tel := range map[string]*telemetry.Telemetry{"recorded": recorder.Telemetry, "not recorded": idle} {
		for sent, test := range map[string]struct {
			parents, states []string
			state           string
			continued       bool
		}{
			"one of each":        {[]string{one}, []string{"foo=1"}, "foo=1", true},
			"two states":         {[]string{one}, []string{"foo=1", "bar=2,baz=3"}, "foo=1,bar=2,baz=3", true},
			"an empty one":       {[]string{one}, []string{"foo=1", "", "bar=2"}, "foo=1,bar=2", true},
			"two traceparents":   {[]string{one, other}, []string{"foo=1"}, "", false},
			"the same one twice": {[]string{one, one}, nil, "", false},
			"states alone":       {nil, []string{"foo=1", "bar=2"}, "", false},
		} {
			carried := propagation.MapCarrier{}
			handler := telemetry.HTTPMiddleware(tel, nil)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				tel.Propagator().Inject(r.Context(), carried)
			}))
			r := httptest.NewRequest(http.MethodGet, "/orders", nil)
			r.Header["Traceparent"], r.Header["Tracestate"] = test.parents, test.states
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if continued := strings.Contains(carried["traceparent"], one[:35]); continued != test.continued || strings.Contains(carried["traceparent"], other[3:35]) {
				t.Errorf("%s, %s: goes on as %s", name, sent, carried["traceparent"])
			}
			if carried["tracestate"] != test.state {
				t.Errorf("%s, %s: tracestate %q, want %q", name, sent, carried["tracestate"], test.state)
			}
			if got := w.Header().Get(telemetry.TraceResponse); got != carried["traceparent"] {
				t.Errorf("%s, %s: the answer names %q, not %q", name, sent, got, carried["traceparent"])
			}
		}
	}
}
