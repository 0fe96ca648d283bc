package catalogue_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

// The names, units and kinds in the registry are those that an OTLP exporter is given.
func TestRegistryHasWhatGoesOut(t *testing.T) {
	declared := slices.Concat(catalogue.Common(), catalogue.Optional())
	text := catalogue.Registry(declared)
	found := collected(t, catalogue.Common())
	for name, m := range collected(t, catalogue.SaramaMetrics()) {
		found[name] = m
	}
	for name, m := range found {
		_, after, defined := strings.Cut(text, "\n  - name: "+name+"\n")
		if !defined {
			t.Errorf("%s is not defined", name)
			continue
		}
		definition, _, _ := strings.Cut(after, "\n  - name: ")
		wants := []string{"unit: \"" + m.Unit + "\"", "instrument: " + instrumentOf(m.Data)}
		if strings.Contains(definition, "instrument: updowncounter\n") { // which the test feeds as the gauge that a page shows
			wants = wants[:1]
		}
		for _, want := range wants {
			if !strings.Contains(definition, "    "+want+"\n") {
				t.Errorf("%s lacks %s:\n%s", name, want, definition)
			}
		}
	}
	if n := strings.Count(text, "\n  - name: "); n != len(found) {
		t.Errorf("%d metrics are defined, %d go out", n, len(found))
	}
	for _, m := range catalogue.Conventions() {
		if !strings.Contains(text, "    - "+m.Instrument+"\n") || strings.Contains(text, "name: "+m.Instrument+"\n") {
			t.Errorf("%s is to be imported, not defined", m.Instrument)
		}
	}
}

func instrumentOf(data metricdata.Aggregation) string {
	switch data.(type) {
	case metricdata.Histogram[float64]:
		return "histogram"
	case metricdata.Gauge[float64], metricdata.Gauge[int64]:
		return "gauge"
	default:
		return "counter"
	}
}

func TestRegistrySaysWhatTheLibrarysLabelsAre(t *testing.T) {
	text := catalogue.Registry(catalogue.Common(), catalogue.Optional())
	if strings.Contains(text, "Label of the metrics that have it") {
		t.Error("a label of the library's has no words of its own in the registry")
	}
	for line := range strings.Lines(text) {
		if ref, found := strings.CutPrefix(strings.TrimSpace(line), "- ref: "); found && strings.Count(text, "- key: "+ref+"\n") != 1 {
			t.Errorf("%s is not defined once", ref)
		}
	}
	own := catalogue.Registry(catalogue.Catalogue{{
		Name: "queues", Kind: catalogue.Gauge, Sum: true, Help: `Says "one".`, Labels: []string{"queue", "shop"}, Conditional: []string{"shop"}, Bound: "two",
	}})
	for _, want := range []string{"- key: queue\n", `brief: "Says \"one\"."`, "instrument: updowncounter\n", "- ref: shop\n        requirement_level:\n"} {
		if !strings.Contains(own, want) {
			t.Errorf("the registry of another catalogue lacks %q:\n%s", want, own)
		}
	}
}

// The registry refers to the version of the conventions that the code is written against.
func TestTheRegistrysManifestNamesThePinnedConventions(t *testing.T) {
	manifest, err := os.ReadFile(filepath.Join("..", "registry", "manifest.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, version, _ := strings.Cut(semconv.SchemaURL, "/schemas/")
	for _, want := range []string{"schema_url: " + semconv.SchemaURL + "\n", "semantic-conventions@v" + version + "[model]\n"} {
		if !strings.Contains(string(manifest), want) {
			t.Errorf("the manifest lacks %q", want)
		}
	}
}
