package known

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// page adds a recorded page of an exporter.
func (m Metrics) page(path string) error {
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
func Page(path string) (Metrics, error) {
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
func PageOf(r io.Reader) (Metrics, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r)
	if err != nil {
		return nil, fmt.Errorf("parse page: %w", err)
	}
	m := Metrics{}
	for name, family := range families {
		for _, series := range family.GetMetric() {
			m.series(name, family.GetType(), names(series.GetLabel()))
		}
	}
	return m, nil
}

func (m Metrics) series(name string, kind dto.MetricType, labels []string) {
	switch kind {
	case dto.MetricType_HISTOGRAM:
		m.histogram(name, labels...)
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
