package compose

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// In every combination that the profiles make, pipelines name what is declared
// alone, and refuse before they run out of memory.
func TestCollectorPipelines(t *testing.T) {
	all := map[string]string{"TRACES_TO": "[otlp_grpc/jaeger, zipkin]", "LOGS_TO": "[elasticsearch]"}
	for name, c := range map[string]collector{
		"tracing":       configuration(t, nil, base),
		"zipkin":        configuration(t, map[string]string{"TRACES_TO": "[zipkin]"}, base, zipkin),
		"logging":       configuration(t, map[string]string{"TRACES_TO": "[debug]", "LOGS_TO": "[elasticsearch]"}, base, elastic),
		"all":           configuration(t, all, base, zipkin, elastic),
		"tail sampling": configuration(t, nil, base, sampling),
	} {
		for id, p := range c.Service.Pipelines {
			undeclared(t, name+" "+id, p.Receivers, c.Receivers, c.Connectors)
			undeclared(t, name+" "+id, p.Processors, c.Processors)
			undeclared(t, name+" "+id, p.Exporters, c.Exporters, c.Connectors)
			if slices.Contains(p.Receivers, "otlp") && (len(p.Processors) == 0 || p.Processors[0] != "memory_limiter") {
				t.Errorf("%s: %s begins with %v, not with the memory limiter", name, id, p.Processors)
			}
			if outside := id == "traces" || id == "logs"; outside && !slices.Contains(p.Processors, "attributes/privacy") {
				t.Errorf("%s: %s sends out what %v leave", name, id, p.Processors)
			}
		}
		undeclared(t, name, c.Service.Extensions, c.Extensions)
		for id, exporter := range c.Exporters {
			if id == "debug" || strings.HasPrefix(id, "prometheus") {
				continue
			}
			if text, _ := yaml.Marshal(exporter); !strings.Contains(string(text), "queue_size:") {
				t.Errorf("%s: nothing bounds what waits for %s", name, id)
			}
		}
	}
}

func undeclared(t *testing.T, what string, names []string, declared ...map[string]any) {
	t.Helper()
	for _, name := range names {
		if !slices.ContainsFunc(declared, func(d map[string]any) bool { _, ok := d[name]; return ok }) {
			t.Errorf("%s: %s is not declared", what, name)
		}
	}
	if len(names) == 0 && !strings.Contains(what, "metrics/") {
		t.Errorf("%s: a list is empty", what)
	}
}

// Figures are made of all spans: sampling comes in another pipeline.
func TestSamplingLeavesTheFiguresWhole(t *testing.T) {
	c := configuration(t, nil, base, sampling)
	if p := c.Service.Pipelines["traces"].Processors; !slices.Contains(p, "tail_sampling") {
		t.Errorf("traces are not sampled: %v", p)
	}
	for id, p := range c.Service.Pipelines {
		if slices.Contains(p.Exporters, "span_metrics") == slices.Contains(p.Processors, "tail_sampling") && id != "metrics/spans" && id != "logs" {
			t.Errorf("%s: %v → %v", id, p.Processors, p.Exporters)
		}
	}
}

// The addresses are those of the stack's parts, and Prometheus scrapes the
// Collector where it shows its metrics.
func TestCollectorAddresses(t *testing.T) {
	text := read(t, base) + read(t, zipkin) + read(t, elastic)
	defaults := map[string]string{}
	for _, found := range environment().FindAllStringSubmatch(text, -1) {
		defaults[found[1]] = found[2]
	}
	for name, want := range map[string]string{
		"OTLP_GRPC_ADDR": "0.0.0.0:4317", "OTLP_HTTP_ADDR": "0.0.0.0:4318", "JAEGER_ADDR": "jaeger:4317", "HEALTH_ADDR": "127.0.0.1:13133",
		"ZIPKIN_URL": "http://zipkin:9411/api/v2/spans", "ELASTICSEARCH_URL": "http://elasticsearch:9200",
		"SPAN_METRICS_ADDR": "0.0.0.0:8889", "COLLECTOR_METRICS_PORT": "8888",
	} {
		if defaults[name] != want {
			t.Errorf("%s is %q, want %s", name, defaults[name], want)
		}
		delete(defaults, name)
	}
	environment := load(t).Services["otel-collector"].Environment
	for _, name := range slices.Sorted(maps.Keys(defaults)) {
		if value := environment[name]; name != "COLLECTOR_METRICS_HOST" && (value == nil || *value != defaults[name]) {
			t.Errorf("%s is %q in the file; its container has %v", name, defaults[name], value)
		}
	}
	targets := read(t, "monitoring/targets/available/otel-collector.yml")
	for _, port := range []string{"otel-collector:8888", "otel-collector:8889"} {
		if !strings.Contains(targets, port) {
			t.Errorf("%s is not scraped", port)
		}
	}
}
