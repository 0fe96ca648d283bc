//go:build unix

package stack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/vigie-dev/vigie/monitoring/internal/process"
	"github.com/vigie-dev/vigie/monitoring/internal/servers"
)

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
// the configuration. folder is the repository's folder monitoring; jaeger is
// where Jaeger takes OTLP, "" where there is none.
func StartCollector(t testing.TB, folder, jaeger string, merged ...string) *Collector {
	t.Helper()
	own, health := t.TempDir(), freeAddress(t)
	c := &Collector{
		GRPC: freeAddress(t), HTTP: freeAddress(t), SpanMetrics: freeAddress(t), Metrics: freeAddress(t),
		Spans: filepath.Join(own, "spans.json"), Logs: filepath.Join(own, "logs.json"),
		configs: []string{CollectorConfig(t, folder)},
	}
	for _, name := range merged {
		path := filepath.Join(own, name)
		stageWithoutExporters(t, CollectorConfig(t, folder, name), path)
		c.configs = append(c.configs, path)
	}
	files := filepath.Join(own, "files.yaml")
	write(t, files, fmt.Sprintf("exporters:\n  file/spans: {path: %q, append: true}\n  file/logs: {path: %q, append: true}\n", c.Spans, c.Logs))
	c.configs = append(c.configs, files)
	host, port, _ := strings.Cut(c.Metrics, ":")
	c.settings = []string{
		"OTLP_GRPC_ADDR=" + c.GRPC, "OTLP_HTTP_ADDR=" + c.HTTP, "HEALTH_ADDR=" + health,
		"SPAN_METRICS_ADDR=" + c.SpanMetrics, "COLLECTOR_METRICS_HOST=" + host, "COLLECTOR_METRICS_PORT=" + port,
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
// folder is the repository's folder monitoring.
func CollectorConfig(t testing.TB, folder string, name ...string) string {
	t.Helper()
	path := filepath.Join(folder, "..", "otel-collector.yaml")
	if len(name) > 0 {
		path = filepath.Join(folder, "otel-collector", name[0])
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return absolute
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

func freeAddress(t testing.TB) string {
	t.Helper()
	address, err := process.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}
