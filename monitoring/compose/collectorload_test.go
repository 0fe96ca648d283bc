package compose

import (
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
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

// environment is a setting of the file: ${env:NAME:-default}.
func environment() *regexp.Regexp { return regexp.MustCompile(`\$\{env:(\w+)(?::-([^}]*))?\}`) }

// configuration reads files of the repository one over the other, with these
// settings and else the defaults.
func configuration(t *testing.T, settings map[string]string, files ...string) collector {
	t.Helper()
	merged := map[string]any{}
	for _, file := range files {
		text := environment().ReplaceAllStringFunc(read(t, file), func(setting string) string {
			found := environment().FindStringSubmatch(setting)
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
