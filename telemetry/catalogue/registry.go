package catalogue

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Registry renders the catalogues, in their order, as a file of definitions for a registry of OpenTelemetry's semantic
// conventions, in the form definition/2 of the tool weaver: it checks that a service sends these metrics and no others
// (weaver registry live-check), and makes documents and code of them.
//
// Metrics are there under their names in OpenTelemetry, with the unit and the kind of instrument that go out over OTLP. One
// that has an Instrument is somebody else's, and is imported: the registry's manifest is to name theirs as a dependency. The
// label service is none of a metric's attributes: it is the resource's service.name.
//
// See https://github.com/open-telemetry/weaver/blob/main/schemas/semconv-syntax.v2.md.
func Registry(catalogues ...Catalogue) string {
	var b strings.Builder
	b.WriteString("file_format: definition/2\n")
	var own, imported Catalogue
	for _, m := range slices.Concat(catalogues...) {
		if m.Instrument != "" {
			imported = append(imported, m)
		} else {
			own = append(own, m)
		}
	}
	if len(imported) > 0 {
		b.WriteString("imports:\n  metrics:\n")
		for _, m := range imported {
			fmt.Fprintf(&b, "    - %s\n", m.Instrument)
		}
	}
	writeAttributes(&b, own)
	b.WriteString("metrics:\n")
	for _, m := range own {
		writeMetric(&b, m)
	}
	return b.String()
}

// writeAttributes defines each label once, where it comes first. It is as stable as the most stable metric that has it.
func writeAttributes(b *strings.Builder, metrics Catalogue) {
	var keys []string
	stable := make(map[string]bool)
	for _, m := range metrics {
		for _, label := range m.Labels {
			if !slices.Contains(keys, label) {
				keys = append(keys, label)
			}
			stable[label] = stable[label] || m.Documented
		}
	}
	if len(keys) > 0 {
		b.WriteString("attributes:\n")
	}
	for _, key := range keys {
		brief, example := attributeWords(key)
		fmt.Fprintf(b, "  - key: %s\n    type: string\n    brief: %s\n    examples: [%s]\n    stability: %s\n",
			key, strconv.Quote(brief), strconv.Quote(example), stability(stable[key]))
	}
}

// attributeWords says in words what a label's values are, and gives one.
func attributeWords(key string) (brief, example string) {
	words, known := map[string][2]string{
		"topic":       {"Topic that a record is sent to or read from.", "orders.created"},
		"partition":   {"Number of a topic's partition.", "0"},
		"group":       {"Consumer group that reads the records.", "billing"},
		"reason":      {"Why something was lost or set aside, of a closed set.", "rejected"},
		"cause":       {"What began a rebalance.", "group_changed"},
		"method":      {"HTTP method, _OTHER for one that is not known.", "GET"},
		"route":       {"Registered pattern that a request matched, unmatched without one.", "/orders/{id}"},
		"status_code": {"Status of an HTTP answer.", "200"},
		"type":        {"Kind of memory.", "rss"},
		"client":      {"Client of Kafka within the process.", "producer"},
		"broker":      {"Number of a broker.", "1"},
		"percentile":  {"Percentile of the latest measurements.", "99"},
	}[key]
	if !known {
		return "Label of the metrics that have it; their notes say what bounds its values.", LabelOther
	}
	return words[0], words[1]
}

func stability(stable bool) string {
	if stable {
		return "stable"
	}
	return "development"
}

func writeMetric(b *strings.Builder, m Metric) {
	instrument := m.Kind.String()
	if m.Sum {
		instrument = "updowncounter"
	}
	note := fmt.Sprintf("On a page of Prometheus: %s.", m.Name)
	if m.Bound != "" {
		note += fmt.Sprintf(" Bound of its labels: %s.", m.Bound)
	}
	if len(m.Buckets) > 0 {
		note += fmt.Sprintf(" Upper bounds of its buckets: %s.", buckets(m.Buckets))
	}
	fmt.Fprintf(b, "  - name: %s\n    instrument: %s\n    unit: %q\n    brief: %s\n    note: %s\n    stability: %s\n    requirement_level: recommended\n",
		m.InstrumentName(), instrument, m.otelUnit(), strconv.Quote(m.Help), strconv.Quote(note), stability(m.Documented))
	if len(m.Labels) > 0 {
		b.WriteString("    attributes:\n")
	}
	for _, label := range m.Labels {
		fmt.Fprintf(b, "      - ref: %s\n", label)
		if slices.Contains(m.Conditional, label) {
			b.WriteString("        requirement_level:\n          conditionally_required: \"Where it applies.\"\n")
		} else {
			b.WriteString("        requirement_level: required\n")
		}
	}
}
