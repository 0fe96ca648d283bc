package telemetrytest

import (
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

// Metric returns the value of a metric, summed over the series that have all the labels given (nil for every
// series); for a histogram, the number of measurements. No such series ends the test, so a zero is an exported
// zero.
func (r *Recorder) Metric(name string, labels map[string]string) float64 {
	r.t.Helper()
	return r.sum(name, labels, func(m *dto.Metric) float64 {
		if h := m.GetHistogram(); h != nil {
			return float64(h.GetSampleCount())
		}
		return m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
	})
}

// HistogramSum returns the sum of a histogram's measurements over the series that have all the labels given. No
// such series ends the test.
func (r *Recorder) HistogramSum(name string, labels map[string]string) float64 {
	r.t.Helper()
	return r.sum(name, labels, func(m *dto.Metric) float64 { return m.GetHistogram().GetSampleSum() })
}

// Series returns how many series of the metric have all the labels given; 0 for an unknown metric.
func (r *Recorder) Series(name string, labels map[string]string) int {
	r.t.Helper()
	return len(r.find(name, labels))
}

func (r *Recorder) sum(name string, labels map[string]string, value func(*dto.Metric) float64) float64 {
	r.t.Helper()
	found := r.find(name, labels)
	if len(found) == 0 {
		r.t.Fatalf("no series %s%v on the page; it has:\n%s", name, labels, linesOf(r.Page(), name))
	}
	total := 0.0
	for _, m := range found {
		total += value(m)
	}
	return total
}

func (r *Recorder) find(name string, labels map[string]string) []*dto.Metric {
	r.t.Helper()
	var found []*dto.Metric
	for _, family := range r.families() {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			if has(m, labels) {
				found = append(found, m)
			}
		}
	}
	return found
}

func (r *Recorder) families() []*dto.MetricFamily {
	r.t.Helper()
	families, err := r.Gatherer().Gather()
	if err != nil {
		r.t.Fatalf("gather metrics: %v", err)
	}
	return families
}

// CheckCatalogue fails the test if a metric of the catalogue is on the page with labels or a type other than
// declared, with more series than stated, without the service's name, or folded by the SDK for having too many series;
// and if the page is not one that [CheckOpenMetrics] takes.
func (r *Recorder) CheckCatalogue() {
	r.t.Helper()
	if err := CheckOpenMetrics(r.OpenMetricsPage()); err != nil {
		r.t.Errorf("the OpenMetrics page: %v", err)
	}
	for _, family := range r.families() {
		declared, ok := r.Catalogue().Lookup(family.GetName())
		if !ok {
			continue
		}
		if kind := strings.ToLower(family.GetType().String()); kind != declared.Kind.String() {
			r.t.Errorf("%s is a %s on the page, a %s in the catalogue", declared.Name, kind, declared.Kind)
		}
		if n := len(family.GetMetric()); declared.MaxSeries > 0 && n > declared.MaxSeries {
			r.t.Errorf("%s has %d series on the page, at most %d in the catalogue", declared.Name, n, declared.MaxSeries)
		}
		want := append([]string{catalogue.ServiceLabel}, declared.Labels...)
		slices.Sort(want)
		for _, m := range family.GetMetric() {
			if got := labelNames(m); !slices.Equal(withConditional(got, declared), want) {
				r.t.Errorf("%s has the labels %v on the page, %v in the catalogue", declared.Name, got, want)
			}
		}
	}
}

// withConditional adds the labels that a series may lack.
func withConditional(names []string, declared telemetry.Metric) []string {
	all := slices.Clone(names)
	for _, label := range declared.Conditional {
		if !slices.Contains(all, label) {
			all = append(all, label)
		}
	}
	slices.Sort(all)
	return all
}

func labelNames(m *dto.Metric) []string {
	var names []string
	for _, pair := range m.GetLabel() {
		names = append(names, pair.GetName())
	}
	slices.Sort(names)
	return names
}

func has(m *dto.Metric, labels map[string]string) bool {
	matched := 0
	for _, pair := range m.GetLabel() {
		want, ok := labels[pair.GetName()]
		if ok && want != pair.GetValue() {
			return false
		}
		if ok {
			matched++
		}
	}
	return matched == len(labels)
}

// linesOf returns the lines of the page that speak of the metric.
func linesOf(page, name string) string {
	var lines []string
	for line := range strings.Lines(page) {
		if strings.Contains(line, name) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}
