// Package series lists which series there are: those of the services'
// catalogue, of the exporters' recorded pages, and of the recording rules. With
// it a test sees at once when a rule or a panel asks for a metric that nobody
// has, or by a label that the metric lacks. Only tests use it.
package series

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// Known maps the name of each series there is to the labels that it may have.
type Known map[string]Labels

// Labels is a set of label names; nil means that they are not known.
type Labels map[string]bool

// Load reads the series of the repository at a path: docs/metrics.md, and in
// monitoring/ testdata/*.prom and rules/*.yml.
func Load(repository string) (Known, error) {
	m := Known{}
	m.addBuiltin()
	if err := m.catalogue(filepath.Join(repository, "docs", "metrics.md")); err != nil {
		return nil, err
	}
	pages, err := filepath.Glob(filepath.Join(repository, "monitoring", "testdata", "*.prom"))
	if err != nil || len(pages) == 0 {
		return nil, fmt.Errorf("find recorded pages: %d files, %w", len(pages), err)
	}
	for _, page := range pages {
		if err := m.page(page); err != nil {
			return nil, err
		}
	}
	rules, err := Rules(repository)
	if err != nil {
		return nil, err
	}
	for _, rule := range rules {
		if rule.Record != "" {
			m[rule.Record] = nil // its labels are not known
		}
	}
	return m, nil
}

// add notes a series with labels, and those that Prometheus gives every target.
func (m Known) add(name string, labels ...string) {
	if m[name] == nil {
		m[name] = Labels{"__name__": true, "job": true, "instance": true}
	}
	for _, label := range labels {
		m[name][label] = true
	}
}

// addHistogram notes the series of a histogram.
func (m Known) addHistogram(name string, labels ...string) {
	m.add(name+"_bucket", append(slices.Clone(labels), "le")...)
	m.add(name+"_sum", labels...)
	m.add(name+"_count", labels...)
}

// addBuiltin notes what Prometheus makes itself for every target. The label
// service comes from the targets' files.
func (m Known) addBuiltin() {
	for _, name := range strings.Fields(
		"up scrape_duration_seconds scrape_samples_scraped scrape_samples_post_metric_relabeling scrape_series_added",
	) {
		m.add(name, "service")
	}
	m.add("ALERTS", "alertname", "alertstate", "severity", "service", "topic")
	m.add("ALERTS_FOR_STATE", "alertname", "severity", "service", "topic")
}

// catalogue reads the generated table of the services' metrics, which the
// services' own tests check against their code.
func (m Known) catalogue(path string) error {
	text, err := os.ReadFile(path) //nolint:gosec // of the repository
	if err != nil {
		return fmt.Errorf("read catalogue: %w", err)
	}
	found := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		name := strings.Trim(cells[1], " `")
		labels := strings.FieldsFunc(cells[3], func(r rune) bool { return r == ',' || r == ' ' })
		switch kind := strings.TrimSpace(cells[2]); kind {
		case "counter", "gauge":
			m.add(name, labels...)
		case "histogram":
			m.addHistogram(name, labels...)
		default:
			return fmt.Errorf("read catalogue %s: %s is a %q", path, name, kind)
		}
		found++
	}
	if found == 0 {
		return fmt.Errorf("read catalogue %s: no metrics", path)
	}
	return nil
}

// page adds a recorded page of an exporter.
func (m Known) page(path string) error {
	page, err := Page(path)
	if err != nil {
		return err
	}
	for name, labels := range page {
		m.add(name, slices.Collect(maps.Keys(labels))...)
	}
	return nil
}

// Page reads a recorded page of an exporter.
func Page(path string) (Known, error) {
	file, err := os.Open(path) //nolint:gosec // of the repository
	if err != nil {
		return nil, fmt.Errorf("open page: %w", err)
	}
	m, err := PageOf(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("page %s: %w", path, err)
	}
	return m, nil
}

// PageOf reads a page in Prometheus's text format.
func PageOf(r io.Reader) (Known, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r)
	if err != nil {
		return nil, fmt.Errorf("parse page: %w", err)
	}
	m := Known{}
	for name, family := range families {
		for _, series := range family.GetMetric() {
			m.series(name, family.GetType(), names(series.GetLabel()))
		}
	}
	return m, nil
}

func (m Known) series(name string, kind dto.MetricType, labels []string) {
	switch kind {
	case dto.MetricType_HISTOGRAM:
		m.addHistogram(name, labels...)
	case dto.MetricType_SUMMARY:
		m.add(name, append(labels, "quantile")...)
		m.add(name+"_sum", labels...)
		m.add(name+"_count", labels...)
	default:
		m.add(name, labels...)
	}
}

func names(pairs []*dto.LabelPair) []string {
	out := make([]string, len(pairs))
	for i, pair := range pairs {
		out[i] = pair.GetName()
	}
	return out
}

// Rules are all rules of the repository at a path, as Prometheus parses them:
// those that record and those that alert.
func Rules(repository string) ([]rulefmt.Rule, error) {
	files, err := filepath.Glob(filepath.Join(repository, "monitoring", "rules", "*.yml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("find rules: %d files, %w", len(files), err)
	}
	var all []rulefmt.Rule
	for _, file := range files {
		groups, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
		if err := errors.Join(errs...); err != nil {
			return nil, fmt.Errorf("rules %s: %w", file, err)
		}
		for _, group := range groups.Groups {
			all = append(all, group.Rules...)
		}
	}
	return all, nil
}

// Check parses an expression and reports each series in it that nobody has, and
// each label that a series is selected by and lacks.
func (m Known) Check(expression string) error {
	selectors, err := parse(expression)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range selectors {
		errs = append(errs, m.selector(s))
	}
	return errors.Join(errs...)
}

// Selected returns the names of the series that an expression selects.
func Selected(expression string) ([]string, error) {
	selectors, err := parse(expression)
	if err != nil {
		return nil, err
	}
	all := make([]string, len(selectors))
	for i, s := range selectors {
		all[i] = name(s)
	}
	return all, nil
}

// parse returns an expression's selectors.
func parse(expression string) ([]*parser.VectorSelector, error) {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		return nil, fmt.Errorf("parse %q: %w", expression, err)
	}
	var selectors []*parser.VectorSelector
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			selectors = append(selectors, selector)
		}
		return nil
	})
	return selectors, nil
}

// name is the metric that a selector selects, or "".
func name(s *parser.VectorSelector) string {
	for _, matcher := range s.LabelMatchers {
		if matcher.Name == model.MetricNameLabel && matcher.Type == labels.MatchEqual {
			return matcher.Value
		}
	}
	return s.Name
}

func (m Known) selector(s *parser.VectorSelector) error {
	name := name(s)
	if name == "" {
		return fmt.Errorf("%s: selects by no metric's name", s)
	}
	have, ok := m[name]
	if !ok {
		return fmt.Errorf("%s: no such metric", name)
	}
	var errs []error
	for _, matcher := range s.LabelMatchers {
		if have != nil && !have[matcher.Name] {
			errs = append(errs, fmt.Errorf("%s: no label %s", name, matcher.Name))
		}
	}
	return errors.Join(errs...)
}
