package otlp_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/internal/leaks"
	"github.com/vigie-dev/vigie/telemetry/otlp"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// environment leaves of the OTEL_* variables only those given.
func environment(t *testing.T, variables map[string]string) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "") // restores it after the test
		}
	}
	for name, value := range variables {
		t.Setenv(name, value)
	}
}

// start sets a service's telemetry up from the environment.
func start(t *testing.T, log io.Writer) *telemetry.Telemetry {
	t.Helper()
	exporters, err := otlp.FromEnvironment(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{
		Service: "shop", LogWriter: log, LogFormat: telemetry.LogJSON, SpanExporters: exporters.Spans, LogExporters: exporters.Logs,
	})
	if err != nil {
		t.Fatal(err)
	}
	return tel
}

// stop flushes and stops. It has plenty of time: what it takes depends on the machine.
func stop(t *testing.T, tel *telemetry.Telemetry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := tel.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// patience bounds how long a test hangs that fails.
const patience = 2 * time.Minute

// hurried is a context whose deadline is always near and that ends late. A stop plans by the deadline when it cuts exports
// off, and has until the end to see that they did end, however slow the machine.
type hurried struct{ context.Context }

// Deadline implements [context.Context].
func (hurried) Deadline() (time.Time, bool) { return time.Now().Add(100 * time.Millisecond), true }

// stopInAHurry cuts off what a collector does not take.
func stopInAHurry(t *testing.T, tel *telemetry.Telemetry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := tel.Shutdown(hurried{ctx}); err != nil {
		t.Errorf("exports outlast the stop that cuts them off: %v", err)
	}
}

func TestSpansAndLogsArrive(t *testing.T) {
	for name, test := range map[string]struct {
		serve     func(*receiver, *testing.T) string
		variables func(url string) map[string]string
	}{
		"HTTP": {(*receiver).serveHTTP, func(url string) map[string]string {
			return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_HEADERS": "api-key=sesame"}
		}},
		"HTTP zipped, an endpoint each": {(*receiver).serveHTTP, func(url string) map[string]string {
			return map[string]string{
				"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": url + "/a/v1/traces", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": url + "/b/v1/logs",
				"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_HEADERS": "api-key=sesame",
			}
		}},
		"gRPC": {(*receiver).serveGRPC, func(url string) map[string]string {
			return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := &receiver{}
			variables := test.variables(test.serve(c, t))
			variables["OTEL_TRACES_EXPORTER"], variables["OTEL_LOGS_EXPORTER"] = "otlp", "otlp"
			environment(t, variables)
			var log bytes.Buffer
			tel := start(t, &log)
			ctx, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "work")
			tel.Logger().WarnContext(ctx, "inside", "topic", "orders.created")
			span.End()
			stop(t, tel)
			if len(c.spans) != 1 || len(c.records) != 1 || len(c.service) != 1 || !c.service["shop"] {
				t.Fatalf("spans %v, records %v, services %v", c.spans, c.records, c.service)
			}
			id := span.SpanContext().TraceID()
			record := c.records[0]
			if c.spans[0].Name != "work" || !bytes.Equal(c.spans[0].TraceId, id[:]) {
				t.Errorf("span %v", c.spans[0])
			}
			if record.Body.GetStringValue() != "inside" || record.SeverityText != "WARN" || !bytes.Equal(record.TraceId, id[:]) {
				t.Errorf("record %v", record)
			}
			if !strings.Contains(log.String(), `"trace_id":"`+hex.EncodeToString(record.TraceId)) {
				t.Errorf("the service's own log lacks the line: %s", log.String())
			}
			if want := variables["OTEL_EXPORTER_OTLP_HEADERS"]; want != "" && c.headers.Get("api-key") != "sesame" {
				t.Errorf("headers %v", c.headers)
			}
		})
	}
}

func TestNothingLeavesUnlessConfigured(t *testing.T) {
	c := &receiver{}
	url := c.serveHTTP(t)
	for name, variables := range map[string]map[string]string{
		"unset":    {"OTEL_EXPORTER_OTLP_ENDPOINT": url},
		"empty":    {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_TRACES_EXPORTER": "", "OTEL_LOGS_EXPORTER": " "},
		"none":     {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"},
		"disabled": {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_TRACES_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"},
		"unused":   {"OTEL_EXPORTER_OTLP_ENDPOINT": "nonsense"},
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, variables)
			exporters, err := otlp.FromEnvironment(t.Context())
			if err != nil || len(exporters.Spans)+len(exporters.Logs) != 0 {
				t.Fatalf("%+v, %v", exporters, err)
			}
			if tracesTo, logsTo := otlp.Destinations(); tracesTo+logsTo != "" {
				t.Errorf("destinations %q, %q", tracesTo, logsTo)
			}
			tel := start(t, io.Discard)
			ctx, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "work")
			tel.Logger().InfoContext(ctx, "inside")
			span.End()
			if span.IsRecording() {
				t.Error("spans are recorded that go nowhere")
			}
			stop(t, tel)
		})
	}
	if len(c.spans)+len(c.records) != 0 {
		t.Errorf("%d spans and %d records arrived", len(c.spans), len(c.records))
	}
}

func TestSettingsThatCannotBeMeant(t *testing.T) {
	const secret = "hunter2"
	for want, variables := range map[string]map[string]string{
		`OTEL_TRACES_EXPORTER "jaeger": want otlp, console or none`:                  {"OTEL_TRACES_EXPORTER": "jaeger"},
		`OTEL_LOGS_EXPORTER "otlp,console": want otlp, console or none`:              {"OTEL_LOGS_EXPORTER": "otlp,console", "OTEL_TRACES_EXPORTER": "otlp"},
		`OTEL_EXPORTER_OTLP_PROTOCOL "http/json": want http/protobuf or grpc`:        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
		`OTEL_EXPORTER_OTLP_LOGS_PROTOCOL "tcp": want http/protobuf or grpc`:         {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "tcp"},
		`OTEL_EXPORTER_OTLP_ENDPOINT: want a URL such as http://localhost:4318`:      {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4318"},
		`OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: want a URL such as http://localhost:4318`: {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "127.0.0.1:4318"},
		`OTEL_EXPORTER_OTLP_ENDPOINT: names and passwords go into`:                   {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:" + secret + "@c:4318"},
	} {
		environment(t, variables)
		exporters, err := otlp.FromEnvironment(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%v: error %v, want %s", variables, err, want)
		}
		if len(exporters.Spans)+len(exporters.Logs) != 0 {
			t.Errorf("%v: exporters beside an error", variables)
		}
	}
}

func TestDestinations(t *testing.T) {
	for _, test := range []struct {
		variables map[string]string
		want      [2]string
	}{
		{map[string]string{}, [2]string{"http://localhost:4318/v1/traces (OTLP, http/protobuf)", "http://localhost:4318/v1/logs (OTLP, http/protobuf)"}},
		{map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, [2]string{"http://localhost:4317 (OTLP, grpc)", "http://localhost:4317 (OTLP, grpc)"}},
		{map[string]string{"OTEL_EXPORTER_OTLP_LOGS_INSECURE": "false"}, [2]string{"http://localhost:4318/v1/traces (OTLP, http/protobuf)", "https://localhost:4318/v1/logs (OTLP, http/protobuf)"}},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c:1/base/?key=x", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://u:p@l:2/in"},
			[2]string{"https://c:1/base/v1/traces (OTLP, http/protobuf)", "http://l:2/in (OTLP, http/protobuf)"}},
		{map[string]string{"OTEL_LOGS_EXPORTER": "console"}, [2]string{"http://localhost:4318/v1/traces (OTLP, http/protobuf)", "the standard output"}},
	} {
		variables := map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp"}
		for name, value := range test.variables {
			variables[name] = value
		}
		environment(t, variables)
		tracesTo, logsTo := otlp.Destinations()
		if got := [2]string{tracesTo, logsTo}; got != test.want {
			t.Errorf("%v: %q, want %q", test.variables, got, test.want)
		}
	}
}

// A collector that takes nothing: whichever way it does that, recording waits for nothing, no more spans are kept than
// there are places, what is lost is counted, and a stop cuts exports off and leaves nothing behind, which TestMain sees.
//
// An export would wait for an hour: where anything waited for one, the test would not end.
func TestACollectorThatTakesNothing(t *testing.T) {
	const spans, room = 1000, 200
	hang := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	unavailable := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	for _, collector := range []struct {
		name, protocol string
		serve          func(*testing.T) string
	}{
		{"hangs", "http/protobuf", func(t *testing.T) string { return (&receiver{respond: hang}).serveHTTP(t) }},
		{"hangs", "grpc", func(t *testing.T) string { return (&receiver{hangs: true}).serveGRPC(t) }},
		{"answers 503", "http/protobuf", func(t *testing.T) string { return (&receiver{respond: unavailable}).serveHTTP(t) }},
		{"refuses", "http/protobuf", refusing},
		{"refuses", "grpc", refusing},
		{"never reads", "http/protobuf", silent},
		{"never reads", "grpc", silent},
	} {
		t.Run(collector.name+" "+collector.protocol, func(t *testing.T) {
			environment(t, map[string]string{
				"OTEL_TRACES_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.serve(t),
				"OTEL_EXPORTER_OTLP_PROTOCOL": collector.protocol, "OTEL_BSP_MAX_QUEUE_SIZE": fmt.Sprint(room), "OTEL_BLRP_MAX_QUEUE_SIZE": fmt.Sprint(room),
				"OTEL_EXPORTER_OTLP_TIMEOUT": fmt.Sprint(time.Hour.Milliseconds()),
			})
			var log bytes.Buffer
			tel := start(t, &log)
			tracer := tel.TracerProvider().Tracer("test")
			for range spans {
				_, span := tracer.Start(t.Context(), "work")
				span.End()
			}
			if lost := dropped(t, tel); lost < spans-room {
				t.Errorf("%d of %d spans are dropped: more are kept than the %d that there is room for", lost, spans, room)
			}
			stopInAHurry(t, tel)
			if lost := lost(log.String()); lost != spans {
				t.Errorf("the log reports %d lost spans, want %d: %s", lost, spans, log.String())
			}
		})
	}
}

// lost adds up the losses that a log reports.
func lost(log string) (sum int) {
	for line := range strings.Lines(log) {
		if _, rest, ok := strings.Cut(line, `"signal":"traces","lost":`); ok {
			var n int
			if _, err := fmt.Sscan(strings.TrimRight(strings.SplitN(rest, ",", 2)[0], "}\n"), &n); err == nil {
				sum += n
			}
		}
	}
	return sum
}

// dropped returns how many spans are counted as lost.
func dropped(t *testing.T, tel *telemetry.Telemetry) (sum int) {
	t.Helper()
	families, err := tel.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == catalogue.SpansDroppedTotal {
				sum += int(m.GetCounter().GetValue())
			}
		}
	}
	return sum
}

// refusing returns the URL of a port that nobody listens on.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return "http://" + l.Addr().String()
}

// silent returns the URL of a port where connections are taken up and nothing is read.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var open []net.Conn
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			open = append(open, conn)
		}
		for _, conn := range open {
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
	return "http://" + l.Addr().String()
}

// A collector that takes a part of a batch says how much it did not take.
func TestPartialSuccessIsCounted(t *testing.T) {
	for protocol, serve := range map[string]func(*receiver, *testing.T) string{
		"http/protobuf": (*receiver).serveHTTP, "grpc": (*receiver).serveGRPC,
	} {
		t.Run(protocol, func(t *testing.T) {
			environment(t, map[string]string{
				"OTEL_TRACES_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": serve(&receiver{partial: true}, t),
				"OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
			})
			var log bytes.Buffer
			tel := start(t, &log)
			for range 10 {
				ctx, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "work")
				tel.Logger().InfoContext(ctx, "inside")
				span.End()
			}
			stop(t, tel)
			for _, signal := range []string{"traces", "logs"} {
				if want := `"signal":"` + signal + `","lost":1,`; strings.Count(log.String(), want) != 1 || strings.Count(log.String(), "one is too old") != 2 {
					t.Errorf("no %s in %s", want, log.String())
				}
			}
		})
	}
}

// Protocol buffers refuse text that is no UTF-8; such a span must not cost the others of its batch.
func TestHostileTextArrives(t *testing.T) {
	const evil = "a\xff\x00b"
	c := &receiver{}
	environment(t, map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": c.serveHTTP(t)})
	var log bytes.Buffer
	tel := start(t, &log)
	tracer := tel.TracerProvider().Tracer("test")
	spans := map[string]func(trace.Span){
		"name":      func(s trace.Span) { s.SetName(evil) },
		"status":    func(s trace.Span) { s.SetStatus(1, evil) },
		"key":       func(s trace.Span) { s.SetAttributes(attribute.String(evil, "v")) },
		"attribute": func(s trace.Span) { s.SetAttributes(attribute.String("k", evil)) },
		"slice":     func(s trace.Span) { s.SetAttributes(attribute.StringSlice("k", []string{"\xc3", "\xa9"})) },
		"nested": func(s trace.Span) {
			s.SetAttributes(attribute.Map("m", attribute.String(evil, evil)), attribute.KeyValue{
				Key: "s", Value: attribute.SliceValue(attribute.StringValue(evil)),
			})
		},
		"event": func(s trace.Span) { s.AddEvent(evil, trace.WithAttributes(attribute.String("k", evil))) },
		"link": func(s trace.Span) {
			s.AddLink(trace.Link{SpanContext: s.SpanContext(), Attributes: []attribute.KeyValue{attribute.String("k", evil)}})
		},
		"nothing": func(trace.Span) {},
	}
	for name, spoil := range spans {
		_, span := tracer.Start(t.Context(), name)
		spoil(span)
		span.End()
	}
	tel.Logger().WithGroup(evil).Info(evil, evil, evil)
	stop(t, tel)
	if len(c.spans) != len(spans) || len(c.records) != 1 {
		t.Errorf("%d spans and %d records arrived, want %d and 1: %s", len(c.spans), len(c.records), len(spans), log.String())
	}
}
