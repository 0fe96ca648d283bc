package otelhttpserver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/otelhttpserver"
)

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// sdk is OpenTelemetry as an application sets it up: no package telemetry, no Prometheus.
type sdk struct {
	reader *sdkmetric.ManualReader
	spans  *tracetest.SpanRecorder
	basis  []otelhttpserver.Option
}

func newSDK(t *testing.T) sdk {
	t.Helper()
	s := sdk{reader: sdkmetric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(s.reader))
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(s.spans))
	t.Cleanup(func() {
		if err := errors.Join(meters.Shutdown(context.Background()), tracers.Shutdown(context.Background())); err != nil {
			t.Error(err)
		}
	})
	s.basis = []otelhttpserver.Option{
		otelhttpserver.WithMeterProvider(meters), otelhttpserver.WithTracerProvider(tracers),
		otelhttpserver.WithPropagators(propagation.TraceContext{}),
	}
	return s
}

// middleware returns the handler within the middleware of these providers and the options given.
func (s sdk) middleware(t *testing.T, h http.Handler, options ...otelhttpserver.Option) http.Handler {
	t.Helper()
	wrap, err := otelhttpserver.New(slices.Concat(s.basis, options)...)
	if err != nil {
		t.Fatal(err)
	}
	return wrap(h)
}

// points returns a line for each point that was recorded: name, unit, attributes and count.
func (s sdk) points(t *testing.T) (lines []string) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := s.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					lines = append(lines, fmt.Sprintln(m.Name, p.Attributes.Encoded(attribute.DefaultEncoder()), p.Value))
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					lines = append(lines, fmt.Sprintln(m.Name, m.Unit, p.Attributes.Encoded(attribute.DefaultEncoder()), p.Count))
				}
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func shop() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	mux.HandleFunc("GET /metrics", func(http.ResponseWriter, *http.Request) {})
	return mux
}

// ask asks for an order, within a trace.
func ask(h http.Handler) *httptest.ResponseRecorder {
	r, answer := httptest.NewRequest(http.MethodGet, "/orders/7", nil), httptest.NewRecorder()
	r.Header.Set("traceparent", traceparent)
	h.ServeHTTP(answer, r)
	return answer
}

func TestProvidersOfAnApplicationGetEverything(t *testing.T) {
	s := newSDK(t)
	answer := ask(s.middleware(t, shop()))
	want := "http.request.duration s method=GET,route=/orders/{id},status_code=418 1\n" +
		"http.requests method=GET,route=/orders/{id},status_code=418 1\n"
	if got := strings.Join(s.points(t), ""); got != want {
		t.Errorf("recorded\n%swant\n%s", got, want)
	}
	spans := s.spans.Ended()
	if len(spans) != 1 || spans[0].Name() != "GET /orders/{id}" || spans[0].SpanKind() != trace.SpanKindServer {
		t.Fatalf("spans %v, want one server span named by its route", spans)
	}
	if !strings.Contains(traceparent, spans[0].Parent().SpanID().String()) {
		t.Errorf("the span's parent is %v, want that of %s", spans[0].Parent().SpanID(), traceparent)
	}
	if got := answer.Header().Get(otelhttpserver.TraceResponse); !strings.Contains(got, spans[0].SpanContext().SpanID().String()) {
		t.Errorf("traceresponse %q does not name the span", got)
	}
}

func TestOptions(t *testing.T) {
	t.Run("conventions", func(t *testing.T) {
		s := newSDK(t)
		ask(s.middleware(t, shop(), otelhttpserver.WithConventions()))
		if got := strings.Join(s.points(t), ""); !strings.Contains(got, "http.server.request.duration s http.request.method=GET,") {
			t.Errorf("recorded\n%s", got)
		}
	})
	t.Run("conventions by the variable", func(t *testing.T) {
		t.Setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "messaging,http/dup")
		s := newSDK(t)
		ask(s.middleware(t, shop()))
		if got := strings.Join(s.points(t), ""); strings.Count(got, "http.server.request.duration ") != 1 || strings.Count(got, "http.request.duration ") != 1 {
			t.Errorf("recorded\n%s", got)
		}
	})
	t.Run("route", func(t *testing.T) {
		s := newSDK(t)
		ask(s.middleware(t, shop(), otelhttpserver.WithRoute(func(*http.Request) string { return "/mine" })))
		if got := strings.Join(s.points(t), ""); strings.Count(got, "route=/mine,") != 2 {
			t.Errorf("recorded\n%s", got)
		}
	})
	t.Run("no traceresponse", func(t *testing.T) {
		s := newSDK(t)
		answer := ask(s.middleware(t, shop(), otelhttpserver.WithoutTraceResponse()))
		if _, named := answer.Header()[http.CanonicalHeaderKey(otelhttpserver.TraceResponse)]; named || len(s.spans.Ended()) != 1 {
			t.Errorf("headers %v, %d spans; want a span that the answer does not name", answer.Header(), len(s.spans.Ended()))
		}
	})
	t.Run("quiet requests", func(t *testing.T) {
		s := newSDK(t)
		h := s.middleware(t, shop())
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if got := s.points(t); len(s.spans.Ended()) != 0 || len(got) != 2 {
			t.Errorf("%d spans, points %v; want a probe measured and not traced", len(s.spans.Ended()), got)
		}
	})
}

// What strangers send as baggage ends at the edge, unless their server trusts them and the propagators have any.
func TestBaggageOfStrangersEndsHere(t *testing.T) {
	both := propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	for name, test := range map[string]struct {
		options []otelhttpserver.Option
		members int
	}{
		"by default":                        {[]otelhttpserver.Option{otelhttpserver.WithPropagators(both)}, 0},
		"trusted":                           {[]otelhttpserver.Option{otelhttpserver.WithPropagators(both), otelhttpserver.WithBaggage()}, 1},
		"trusted, with trace context alone": {[]otelhttpserver.Option{otelhttpserver.WithPropagators(propagation.TraceContext{}), otelhttpserver.WithBaggage()}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			members := -1
			seen := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { members = baggage.FromContext(r.Context()).Len() })
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("baggage", "k=v")
			newSDK(t).middleware(t, seen, test.options...).ServeHTTP(httptest.NewRecorder(), r)
			if members != test.members {
				t.Errorf("the handler sees %d members of the request's baggage, want %d", members, test.members)
			}
		})
	}
}

// failing is a provider whose meters make no counters.
type failing struct{ metricnoop.MeterProvider }

func (failing) Meter(string, ...metric.MeterOption) metric.Meter { return failingMeter{} }

type failingMeter struct{ metricnoop.Meter }

func (failingMeter) Int64Counter(string, ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return nil, errors.New("full")
}

func TestNewFails(t *testing.T) {
	var none *telemetry.Telemetry
	for want, option := range map[string]otelhttpserver.Option{
		"an option is nil":                       nil,
		"telemetry is nil":                       otelhttpserver.WithTelemetry(none),
		"make counter http_requests_total: full": otelhttpserver.WithMeterProvider(failing{}),
	} {
		middleware, err := otelhttpserver.New(option)
		if middleware != nil || err == nil || err.Error() != "instrument HTTP: "+want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// The global providers, which are nobody's here, are the default: nothing is recorded, and requests are answered.
func TestNothingHasToBeGiven(t *testing.T) {
	middleware, err := otelhttpserver.New()
	if err != nil {
		t.Fatal(err)
	}
	if answer := ask(middleware(shop())); answer.Code != http.StatusTeapot {
		t.Errorf("status %d", answer.Code)
	}
}

func TestTheSeriesOfAnApplicationsProviderAreBounded(t *testing.T) {
	s := newSDK(t)
	h := s.middleware(t, http.NotFoundHandler(), otelhttpserver.WithConventions(), otelhttpserver.WithoutTraces(func(*http.Request) bool { return true }),
		otelhttpserver.WithRoute(func(r *http.Request) string { return r.URL.Path }))
	const requests = 2100 // more than the SDK's own limit
	for i := range requests {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, fmt.Sprint("/", i), nil))
	}
	got := make(map[string]int)
	for _, line := range s.points(t) {
		name, _, _ := strings.Cut(line, " ")
		got[name]++
		if strings.Contains(line, "otel.metric.overflow") {
			t.Error("the SDK has folded series")
		}
	}
	for name, n := range got {
		if n > 1020 {
			t.Errorf("%s has %d series", name, n)
		}
	}
	if len(got) != 3 {
		t.Errorf("metrics %v, want 3", got)
	}
}

// TestAHandlerOnAConnectionCanDoAllThatItCould is about net/http's own server, whose answers have one type for all.
func TestAHandlerOnAConnectionCanDoAllThatItCould(t *testing.T) {
	const text = "an answer"
	for name, answer := range map[string]func(http.ResponseWriter){
		"Write":       func(w http.ResponseWriter) { _, _ = w.Write([]byte(text)) },
		"WriteString": func(w http.ResponseWriter) { _, _ = io.WriteString(w, text) },
		"ReadFrom":    func(w http.ResponseWriter) { _, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader(text)) },
		"Flush":       func(w http.ResponseWriter) { w.(http.Flusher).Flush(); _, _ = io.WriteString(w, text) },
		"FlushError":  func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush(); _, _ = io.WriteString(w, text) },
		"WriteHeader": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusOK)
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, text)
		},
		"SetReadDeadline": func(w http.ResponseWriter) {
			_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
			_, _ = io.WriteString(w, text)
		},
		"Hijack": func(w http.ResponseWriter) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"+text)
				_ = conn.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSDK(t)
			measured := s.middleware(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) }))
			ended := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(ended)
				measured.ServeHTTP(w, r)
			}))
			response, err := server.Client().Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			if err = errors.Join(err, response.Body.Close()); err != nil || string(body) != text || response.StatusCode != http.StatusOK {
				t.Errorf("%s %q, %v", response.Status, body, err)
			}
			server.Close()
			<-ended // Close waits for no handler that has taken its connection over
			if got := strings.Join(s.points(t), ""); !strings.Contains(got, "status_code=200 1\n") {
				t.Errorf("recorded\n%s", got)
			}
		})
	}
}

func TestATracesNameIsAsThePropagatorsIs(t *testing.T) {
	s := newSDK(t)
	for _, flags := range []string{"00", "01", "02", "03"} {
		var sent propagation.MapCarrier
		h := s.middleware(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			sent = propagation.MapCarrier{}
			propagation.TraceContext{}.Inject(r.Context(), sent)
		}))
		r, answer := httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder()
		r.Header.Set("traceparent", strings.TrimSuffix(traceparent, "01")+flags)
		h.ServeHTTP(answer, r)
		if got := answer.Header().Get(otelhttpserver.TraceResponse); got != sent["traceparent"] || got == "" {
			t.Errorf("flags %s: %q, want %q", flags, got, sent["traceparent"])
		}
	}
}
