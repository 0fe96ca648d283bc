//go:build unix

package stack

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/vigie-dev/vigie/monitoring/internal/process"
	"github.com/vigie-dev/vigie/monitoring/internal/servers"
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
	// Services maps each service to its address, Processes to its process.
	Services  map[string]string
	Processes map[string]*process.Process
}

// StartTracing starts it; nothing is sent yet. folder is the repository's
// folder monitoring.
func StartTracing(t testing.TB, folder string) *Tracing {
	t.Helper()
	// What is missing is told before anything is started.
	for _, program := range []string{servers.Prometheus, servers.Jaeger, servers.Collector} {
		servers.Require(t, program)
	}
	s := &Tracing{Jaeger: servers.StartJaeger(t), Services: map[string]string{}, Processes: map[string]*process.Process{}}
	s.Collector = StartCollector(t, folder, s.Jaeger.OTLP, "elasticsearch.yaml")
	s.startServices(t, build(t, folder))
	s.Prometheus = startScraping(t, folder, s)
	return s
}

// startServices starts the broker and the services on it, one data folder
// among them.
func (s *Tracing) startServices(t testing.TB, binary string) {
	t.Helper()
	data := t.TempDir()
	broker := await(t, run(t, "vigie broker", binary, "broker", "--broker-addr", "127.0.0.1:0", "--data", data),
		`listens on (\S+)`)
	await(t, run(t, "vigie topics", binary, "topics", "--kafka-brokers", broker), `(\d+) topics are there`)
	for _, name := range services() {
		args := []string{
			name, "--" + name + "-addr", "127.0.0.1:0", "--data", data, "--kafka-brokers", broker,
			"--kafka-patience", "60s", "--log-format", "json",
		}
		if name == "paiement" {
			args = append(args, "--paiement-latency", "1ms") // many orders in a short time
		}
		s.Processes[name] = runCommand(t, process.Command{Name: "vigie " + name, Path: binary, Args: args, Env: []string{
			"OTEL_TRACES_EXPORTER=otlp", "OTEL_LOGS_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
			"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + s.Collector.GRPC,
		}})
	}
	for name, p := range s.Processes {
		s.Services[name] = await(t, p, name+` answers at http://(\S+)`)
	}
}

// startScraping starts Prometheus with the shipped configuration, on the
// services and the Collector.
func startScraping(t testing.TB, folder string, s *Tracing) *servers.Server {
	t.Helper()
	c := &configuration{folder: t.TempDir(), prometheus: freeAddress(t)}
	stage(t, filepath.Join(folder, "prometheus.yml"), c.path("prometheus.yml"))
	c.stageRules(t, folder)
	c.writeServices(t, s.Services)
	targets := filepath.Join(folder, "targets", "available", "otel-collector.yml")
	stage(t, targets, c.path("targets/optional/otel-collector.yml"),
		[2]string{"otel-collector:8888", s.Collector.Metrics}, [2]string{"otel-collector:8889", s.Collector.SpanMetrics})
	return servers.StartPrometheus(t, c.prometheus, c.path("prometheus.yml"))
}

// Query asks Prometheus as [Stack.Query] does.
func (s *Tracing) Query(ctx context.Context, expression string) ([]Sample, error) {
	return query(ctx, s.Prometheus, expression)
}

// API asks Prometheus as [Stack.API] does.
func (s *Tracing) API(ctx context.Context, path string, data any) error {
	return askPrometheus(ctx, s.Prometheus, path, data)
}
