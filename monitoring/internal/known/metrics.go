package known

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// Metrics maps the name of each series there is to the labels that it may have.
type Metrics map[string]Labels

// Labels is a set of label names; nil means that they are not known.
type Labels map[string]bool

// Load reads the metrics of the repository whose folder monitoring is given:
// docs/metrics.md beside it, testdata/*.prom and rules/*.yml in it.
func Load(monitoring string) (Metrics, error) {
	m := Metrics{}
	m.builtin()
	if err := m.catalogue(filepath.Join(monitoring, "..", "docs", "metrics.md")); err != nil {
		return nil, err
	}
	pages, err := filepath.Glob(filepath.Join(monitoring, "testdata", "*.prom"))
	if err != nil || len(pages) == 0 {
		return nil, fmt.Errorf("find recorded pages: %d files, %w", len(pages), err)
	}
	for _, page := range pages {
		if err := m.page(page); err != nil {
			return nil, err
		}
	}
	files, err := filepath.Glob(filepath.Join(monitoring, "rules", "*.yml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("find rules: %d files, %w", len(files), err)
	}
	for _, file := range files {
		if err := m.recorded(file); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Names returns the names in order.
func (m Metrics) Names() []string { return slices.Sorted(maps.Keys(m)) }

// add notes a series with labels, and those that Prometheus gives every target.
func (m Metrics) add(name string, labels ...string) {
	if m[name] == nil {
		m[name] = Labels{"__name__": true, "job": true, "instance": true}
	}
	for _, label := range labels {
		m[name][label] = true
	}
}

// histogram notes the series of a histogram.
func (m Metrics) histogram(name string, labels ...string) {
	m.add(name+"_bucket", append(slices.Clone(labels), "le")...)
	m.add(name+"_sum", labels...)
	m.add(name+"_count", labels...)
}

// builtin notes what Prometheus makes itself for every target. The label
// service comes from the targets' files.
func (m Metrics) builtin() {
	for _, name := range strings.Fields(
		"up scrape_duration_seconds scrape_samples_scraped scrape_samples_post_metric_relabeling scrape_series_added",
	) {
		m.add(name, "service")
	}
	m.add("ALERTS", "alertname", "alertstate", "severity", "service", "topic")
	m.add("ALERTS_FOR_STATE", "alertname", "severity", "service", "topic")
}
