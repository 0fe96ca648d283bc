package monitoring_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/vigie-dev/vigie/internal/testenv/repo"
)

// collector is what these tests need of the Collector's configuration: merged as
// the Collector merges it, maps by key and lists as a whole.
type collector struct {
	Receivers, Processors, Exporters, Connectors, Extensions map[string]any
	Service                                                  struct {
		Extensions []string
		Pipelines  map[string]pipeline
	}
}

type pipeline struct{ Receivers, Processors, Exporters []string }

// collectorSetting is a setting of the file: ${env:NAME:-default}.
func collectorSetting() *regexp.Regexp { return regexp.MustCompile(`\$\{env:(\w+)(?::-([^}]*))?\}`) }

// collectorConfig reads files of the repository one over the other, with these
// settings and else the defaults.
func collectorConfig(t *testing.T, settings map[string]string, files ...string) collector {
	t.Helper()
	merged := map[string]any{}
	for _, file := range files {
		text := collectorSetting().ReplaceAllStringFunc(repo.Read(t, file), func(setting string) string {
			found := collectorSetting().FindStringSubmatch(setting)
			if value, ok := settings[found[1]]; ok {
				return value
			}
			if !strings.Contains(setting, ":-") {
				t.Errorf("%s: %s has no default", file, setting)
			}
			return found[2]
		})
		var one map[string]any
		if err := yaml.Unmarshal([]byte(text), &one); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		merge(merged, one)
	}
	text, err := yaml.Marshal(merged)
	if err != nil {
		t.Fatal(err)
	}
	var c collector
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func merge(into, from map[string]any) {
	for key, value := range from {
		below, isMap := value.(map[string]any)
		if there, ok := into[key].(map[string]any); ok && isMap {
			merge(there, below)
			continue
		}
		into[key] = value
	}
}

const (
	base     = "otel-collector.yaml"
	zipkin   = "monitoring/otel-collector/zipkin.yaml"
	elastic  = "monitoring/otel-collector/elasticsearch.yaml"
	sampling = "monitoring/otel-collector/tail-sampling.yaml"
)

// In every combination that the profiles make, pipelines name what is declared
// alone, and refuse before they run out of memory.
func TestCollectorPipelines(t *testing.T) {
	all := map[string]string{"TRACES_TO": "[otlp_grpc/jaeger, zipkin]", "LOGS_TO": "[elasticsearch]"}
	for name, c := range map[string]collector{
		"tracing":       collectorConfig(t, nil, base),
		"zipkin":        collectorConfig(t, map[string]string{"TRACES_TO": "[zipkin]"}, base, zipkin),
		"logging":       collectorConfig(t, map[string]string{"TRACES_TO": "[debug]", "LOGS_TO": "[elasticsearch]"}, base, elastic),
		"all":           collectorConfig(t, all, base, zipkin, elastic),
		"tail sampling": collectorConfig(t, nil, base, sampling),
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
			// What waits is bounded, outlives the Collector, and is batched behind the queue.
			text, _ := yaml.Marshal(exporter)
			for _, setting := range []string{"queue_size:", "storage: file_storage/queues", "batch:"} {
				if !strings.Contains(string(text), setting) {
					t.Errorf("%s: the queue of %s has no %s", name, id, setting)
				}
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
	c := collectorConfig(t, nil, base, sampling)
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
	text := repo.Read(t, base) + repo.Read(t, zipkin) + repo.Read(t, elastic)
	defaults := map[string]string{}
	for _, found := range collectorSetting().FindAllStringSubmatch(text, -1) {
		defaults[found[1]] = found[2]
	}
	for name, want := range map[string]string{
		"OTLP_GRPC_ADDR": "0.0.0.0:4317", "OTLP_HTTP_ADDR": "0.0.0.0:4318", "JAEGER_ADDR": "jaeger:4317", "HEALTH_ADDR": "127.0.0.1:13133",
		"ZIPKIN_URL": "http://zipkin:9411/api/v2/spans", "ELASTICSEARCH_URL": "http://elasticsearch:9200",
		"SPAN_METRICS_ADDR": "0.0.0.0:8889", "COLLECTOR_METRICS_PORT": "8888", "QUEUE_DIR": "/var/lib/otelcol",
	} {
		if defaults[name] != want {
			t.Errorf("%s is %q, want %s", name, defaults[name], want)
		}
		delete(defaults, name)
	}
	environment := compose(t).Services["otel-collector"].Environment
	for _, name := range slices.Sorted(maps.Keys(defaults)) {
		if value := environment[name]; name != "COLLECTOR_METRICS_HOST" && (value == nil || *value != defaults[name]) {
			t.Errorf("%s is %q in the file; its container has %v", name, defaults[name], value)
		}
	}
	targets := repo.Read(t, "monitoring/targets/available/otel-collector.yml")
	for _, port := range []string{"otel-collector:8888", "otel-collector:8889"} {
		if !strings.Contains(targets, port) {
			t.Errorf("%s is not scraped", port)
		}
	}
}
