package telemetry_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry"
)

// keeper keeps the traces of every second request.
type keeper struct {
	mu       sync.Mutex
	requests int
	kept     map[trace.TraceID]bool
	spans    []sdktrace.ReadOnlySpan
}

func (k *keeper) Keeps(p sdktrace.SamplingParameters) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	parent := trace.SpanContextFromContext(p.ParentContext)
	if first := !k.kept[p.TraceID] && (!parent.IsValid() || parent.IsRemote()) && p.Kind == trace.SpanKindServer; first {
		k.requests++
		k.kept[p.TraceID] = k.requests%2 == 1
	}
	return k.kept[p.TraceID]
}

func (k *keeper) OnEnd(s sdktrace.ReadOnlySpan) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.spans = append(k.spans, s)
}

// of returns the names of the spans of a trace that were recorded, the last first.
func (k *keeper) of(id trace.TraceID) (names []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range slices.Backward(k.spans) {
		if s.SpanContext().TraceID() == id {
			names = append(names, s.Name())
		}
	}
	return names
}

func newKeeper() *keeper { return &keeper{kept: map[trace.TraceID]bool{}} }

// keeping starts a service's telemetry with a keeper, or none, and an exporter, or none.
func keeping(t *testing.T, keeps telemetry.Keeper, exporters ...sdktrace.SpanExporter) *telemetry.Telemetry {
	t.Helper()
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{SampleUnrecorded: true, Service: "shop", LogWriter: io.Discard, Keeper: keeps, SpanExporters: exporters})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tel.Shutdown(context.Background()) })
	return tel
}

// work is a request, brought by the context, with a piece of work in it and one that has a trace of its own. It returns
// what travels on from the three.
func work(ctx context.Context, tracer trace.Tracer) (out [3]trace.SpanContext) {
	ctx, request := tracer.Start(ctx, "request", trace.WithSpanKind(trace.SpanKindServer))
	defer request.End()
	inner, child := tracer.Start(ctx, "inner")
	defer child.End()
	_, other := tracer.Start(inner, "other", trace.WithNewRoot())
	defer other.End()
	for i, s := range []trace.Span{request, child, other} {
		out[i] = s.SpanContext()
	}
	return out
}

// What is exported, and the flag and state that travel with every span, are the same with a keeper and without: for each
// sampler, where something is exported and where nothing is.
func TestAKeeperChangesNothingElse(t *testing.T) {
	for _, sampler := range []string{"", "always_on", "always_off", "parentbased_always_off"} {
		for _, exporting := range []bool{true, false} {
			t.Run(fmt.Sprint(sampler, exporting), func(t *testing.T) {
				t.Setenv("OTEL_TRACES_SAMPLER", sampler)
				exported := map[bool]string{}
				travels := map[bool]string{}
				for _, kept := range []bool{true, false} {
					var keeps telemetry.Keeper
					k := newKeeper()
					if kept {
						keeps = k
					}
					memory := tracetest.NewInMemoryExporter()
					var exporters []sdktrace.SpanExporter
					if exporting {
						exporters = append(exporters, kindly{memory})
					}
					tel := keeping(t, keeps, exporters...)
					tracer := tel.TracerProvider().Tracer("test")
					for i := range 8 {
						ctx := t.Context()
						if i >= 2 { // a client's, sampled or not
							state, _ := trace.ParseTraceState("a=b")
							ctx = trace.ContextWithRemoteSpanContext(ctx, spanContext(i, trace.TraceFlags(i%2)).WithTraceState(state))
						}
						spans := work(ctx, tracer)
						for _, s := range spans {
							travels[kept] += fmt.Sprint(s.TraceFlags(), s.TraceState(), s.TraceID() == spans[0].TraceID(), i < 2 || spans[0].TraceID() == spanContext(i, 0).TraceID(), " ")
						}
						if got, want := len(k.of(spans[0].TraceID())) >= 2, kept && i%2 == 0; got != want && (sampler == "always_off" || !exporting && sampler == "") {
							t.Errorf("request %d: it is recorded: %v, want %v", i, got, want)
						}
					}
					_ = tel.Shutdown(t.Context())
					for _, s := range memory.GetSpans() {
						exported[kept] += fmt.Sprint(s.Name, s.Parent.IsValid(), " ")
					}
				}
				if exported[true] != exported[false] || exporting && sampler == "always_on" && exported[true] == "" {
					t.Errorf("with a keeper\n%s\nis exported, without\n%s", exported[true], exported[false])
				}
				if travels[true] != travels[false] {
					t.Errorf("with a keeper\n%s\ntravels, without\n%s", travels[true], travels[false])
				}
			})
		}
	}
}

// kindly keeps its spans when it is shut down.
type kindly struct{ *tracetest.InMemoryExporter }

func (kindly) Shutdown(context.Context) error { return nil }

// A request that is kept is recorded with all that the conventions know of it, under the trace id that the keeper was
// asked about; one that is not kept records nothing. Both answer with their trace.
func TestRequestsAreKept(t *testing.T) {
	k := newKeeper()
	tel := keeping(t, k)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		_, span := tel.TracerProvider().Tracer("test").Start(r.Context(), "inner")
		defer span.End()
		w.WriteHeader(http.StatusTeapot)
	})
	handler := telemetry.HTTPMiddleware(tel, nil)(mux)
	for i := range 6 {
		request := httptest.NewRequest(http.MethodGet, "/orders/1", nil)
		if i >= 2 {
			request.Header.Set("traceparent", fmt.Sprintf("00-%032x-00000000000000ab-0%d", i, i%2))
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		parts := strings.Split(answer.Header().Get(telemetry.TraceResponse), "-")
		if len(parts) != 4 || i >= 2 && parts[1] != fmt.Sprintf("%032x", i) {
			t.Fatalf("request %d answers with the trace %q", i, parts)
		}
		if want := i < 2 || i%2 == 1; (parts[3] == "01") != want {
			t.Errorf("request %d answers with flags %s", i, parts[3])
		}
		id, err := trace.TraceIDFromHex(parts[1])
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		if i%2 == 0 {
			want = "GET /orders/{id} inner"
		}
		if got := strings.Join(k.of(id), " "); got != want {
			t.Errorf("request %d: recorded are %q, want %q", i, got, want)
		}
	}
	for _, s := range k.spans {
		if s.SpanKind() == trace.SpanKindServer && !strings.Contains(fmt.Sprint(s.Attributes()), "http.response.status_code") {
			t.Errorf("a request has no status: %v", s.Attributes())
		}
	}
}

// A monitor's request starts no trace, kept or not.
func TestProbesAreNotKept(t *testing.T) {
	k := newKeeper()
	handler := telemetry.HTTPMiddleware(keeping(t, k), nil)(http.NotFoundHandler())
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/health", nil))
	if k.requests != 0 || len(k.spans) != 0 {
		t.Errorf("the keeper was asked %d times and has %d spans", k.requests, len(k.spans))
	}
}
