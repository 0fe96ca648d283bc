//go:build unix

package stack

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/vigie-dev/vigie/internal/testenv/proc"
	"github.com/vigie-dev/vigie/internal/testenv/repo"
	"github.com/vigie-dev/vigie/internal/testenv/servers"
	"github.com/vigie-dev/vigie/internal/testenv/system"
)

// Tracing is the running system with what the profile tracing adds to it: the
// four services, each a process of its own on the embedded broker, send traces
// and logs to the Collector, which passes the traces on to Jaeger. Prometheus
// scrapes the services and the Collector. It ends with the test that started
// it.
type Tracing struct {
	Prometheus *servers.Server
	Jaeger     *servers.TraceStore
	Collector  *Collector
	System     *system.System
}

// StartTracing starts it; nothing is sent yet.
func StartTracing(t testing.TB) *Tracing {
	t.Helper()
	// What is missing shows before anything is started.
	for _, program := range []string{servers.Prometheus, servers.Jaeger, servers.Collector} {
		servers.Require(t, program)
	}
	s := &Tracing{Jaeger: servers.StartJaeger(t)}
	s.Collector = StartCollector(t, s.Jaeger.OTLP, "elasticsearch.yaml")
	s.startServices(t, build(t))
	s.startScraping(t)
	return s
}

// startServices starts the broker and the services on it, one data folder
// among them.
func (s *Tracing) startServices(t testing.TB, binary string) {
	t.Helper()
	data, logs := t.TempDir(), t.TempDir()
	broker, err := system.StartEmbedded(t.Context(), binary, data, logs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Kill)
	s.System, err = system.New(system.Config{
		Binary: binary, Brokers: broker.Address(), Data: data, Logs: logs,
		Flags: append(patient(), "--paiement-latency", "1ms"), // many orders in a short time
		Env: []string{
			"OTEL_TRACES_EXPORTER=otlp", "OTEL_LOGS_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
			"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + s.Collector.GRPC,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.System.Close()
		for _, name := range system.Services() {
			if t.Failed() {
				t.Logf("the end of the log of %s:\n%s", name, s.System.Service(name).LogTail())
			}
		}
	})
	if err := s.System.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Addresses maps each service to its address, host:port.
func (s *Tracing) Addresses() map[string]string {
	all := map[string]string{}
	for _, name := range system.Services() {
		all[name] = strings.TrimPrefix(s.System.URL(name), "http://")
	}
	return all
}

// startScraping starts Prometheus with the shipped configuration, on the
// services and the Collector.
func (s *Tracing) startScraping(t testing.TB) {
	t.Helper()
	c := &configuration{folder: t.TempDir(), prometheus: proc.Address(t)}
	c.stagePrometheus(t)
	c.writeServices(t, s.Addresses())
	stage(t, shipped(t, "targets/available/otel-collector.yml"), c.path("targets/optional/otel-collector.yml"),
		[2]string{"otel-collector:8888", s.Collector.Metrics}, [2]string{"otel-collector:8889", s.Collector.SpanMetrics})
	s.Prometheus = servers.StartPrometheus(t, c.prometheus, c.path("prometheus.yml"))
}

// Query queries Prometheus as [Stack.Query] does.
func (s *Tracing) Query(ctx context.Context, expression string) ([]Sample, error) {
	return query(ctx, s.Prometheus, expression)
}

// API queries Prometheus as [Stack.API] does.
func (s *Tracing) API(ctx context.Context, path string, data any) error {
	return queryPrometheus(ctx, s.Prometheus, path, data)
}

// Collector is the Collector on the shipped configuration, which takes this
// run's addresses from the environment. One thing is added: it writes what it
// exports to files, beside Jaeger for traces, in place of Elasticsearch for
// logs.
type Collector struct {
	*servers.Server
	// GRPC and HTTP are where it takes OTLP, SpanMetrics and Metrics where it
	// shows the metrics that it makes of spans and its own; host:port.
	GRPC, HTTP, SpanMetrics, Metrics string
	// Spans and Logs are the files, a JSON object of OTLP per line.
	Spans, Logs string

	configs, settings []string
}

// StartCollector starts it with files of monitoring/otel-collector merged into
// the configuration. jaeger is where Jaeger takes OTLP, "" where there is none.
func StartCollector(t testing.TB, jaeger string, merged ...string) *Collector {
	t.Helper()
	free, err := proc.FreeAddresses(5)
	if err != nil {
		t.Fatal(err)
	}
	own, health := t.TempDir(), free[0]
	c := &Collector{
		GRPC: free[1], HTTP: free[2], SpanMetrics: free[3], Metrics: free[4],
		Spans: filepath.Join(own, "spans.json"), Logs: filepath.Join(own, "logs.json"),
		configs: []string{CollectorConfig(t)},
	}
	for _, name := range merged {
		path := filepath.Join(own, name)
		stageWithoutExporters(t, CollectorConfig(t, name), path)
		c.configs = append(c.configs, path)
	}
	files := filepath.Join(own, "files.yaml")
	write(t, files, fmt.Sprintf("exporters:\n  file/spans: {path: %q, append: true}\n  file/logs: {path: %q, append: true}\n", c.Spans, c.Logs))
	c.configs = append(c.configs, files)
	host, port, _ := strings.Cut(c.Metrics, ":")
	c.settings = []string{
		"OTLP_GRPC_ADDR=" + c.GRPC, "OTLP_HTTP_ADDR=" + c.HTTP, "HEALTH_ADDR=" + health,
		"QUEUE_DIR=" + filepath.Join(own, "queues"), "SPAN_METRICS_ADDR=" + c.SpanMetrics, "COLLECTOR_METRICS_HOST=" + host, "COLLECTOR_METRICS_PORT=" + port,
		"TRACES_TO=[file/spans]", "LOGS_TO=[file/logs]",
	}
	if jaeger != "" {
		c.settings = append(c.settings, "JAEGER_ADDR="+jaeger, "TRACES_TO=[otlp_grpc/jaeger, file/spans]")
	}
	c.Server = servers.StartCollector(t, health, c.settings, c.configs...)
	return c
}

// Restart starts it again where it was, once it has ended.
func (c *Collector) Restart(t testing.TB) {
	t.Helper()
	c.Server = servers.StartCollector(t, c.Address, c.settings, c.configs...)
}

// CollectorConfig is the path of a shipped configuration: the one at the top
// of the repository and, where a name is given, a file that is merged into it.
func CollectorConfig(t testing.TB, name ...string) string {
	t.Helper()
	if len(name) > 0 {
		return shipped(t, "otel-collector/"+name[0])
	}
	return repo.Path(t, "otel-collector.yaml")
}

// stageWithoutExporters copies a configuration that is merged into another but
// for its exporters, which the Collector of the tests does not have.
func stageWithoutExporters(t testing.TB, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from) //nolint:gosec // of the repository
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatalf("read %s: %v", from, err)
	}
	if _, ok := config["exporters"]; ok {
		t.Logf("%s runs without its exporters, which cannot be had here", filepath.Base(from))
		delete(config, "exporters")
	}
	if text, err = yaml.Marshal(config); err != nil {
		t.Fatal(err)
	}
	write(t, to, string(text))
}

// Trace is a trace as Jaeger's query API gives it.
type Trace struct {
	TraceID   string
	Spans     []*Span
	Processes map[string]struct{ ServiceName string }
}

// Span is one of a trace's spans.
type Span struct {
	SpanID, OperationName, ProcessID string
	References                       []struct{ RefType, TraceID, SpanID string }
}

// Trace gets a trace from Jaeger. One that it does not have is an error.
func (s *Tracing) Trace(ctx context.Context, id string) (*Trace, error) {
	var answer struct {
		Data   []*Trace
		Errors []struct{ Msg string }
	}
	if err := Get(ctx, s.Jaeger.URL("/api/traces/"+id), &answer); err != nil {
		return nil, err
	}
	if len(answer.Data) != 1 {
		return nil, fmt.Errorf("trace %s: Jaeger has %d of it: %v", id, len(answer.Data), answer.Errors)
	}
	return answer.Data[0], nil
}

// Service is the service that made the span.
func (t *Trace) Service(s *Span) string { return t.Processes[s.ProcessID].ServiceName }

// Named are the spans of a service with one of the names.
func (t *Trace) Named(service string, names ...string) []*Span {
	var found []*Span
	for _, s := range t.Spans {
		if t.Service(s) == service && slices.Contains(names, s.OperationName) {
			found = append(found, s)
		}
	}
	return found
}

// Parent is the span's parent. The first span of a trace has none; whole is
// false where the trace lacks it.
func (t *Trace) Parent(s *Span) (parent *Span, whole bool) {
	for _, reference := range s.References {
		if reference.RefType != "CHILD_OF" || reference.TraceID != t.TraceID {
			continue
		}
		for _, other := range t.Spans {
			if other.SpanID == reference.SpanID {
				return other, true
			}
		}
		return nil, false
	}
	return nil, true
}

// Below says whether one of the ancestors is above the span.
func (t *Trace) Below(s *Span, ancestors []*Span) bool {
	for range t.Spans { // parents that go round in a circle end here
		parent, _ := t.Parent(s)
		if parent == nil {
			return false
		}
		if slices.Contains(ancestors, parent) {
			return true
		}
		s = parent
	}
	return false
}
