package telemetry

import (
	"fmt"
	"slices"
)

// Kind is the type of a metric as Prometheus sees it.
type Kind int

// The kinds of metric.
const (
	Counter   Kind = iota + 1 // only goes up; its name ends in _total
	Gauge                     // goes up and down; read when the page is scraped
	Histogram                 // distribution over the buckets of the catalogue
)

// String returns the name of the kind as it stands in a # TYPE line.
func (k Kind) String() string {
	switch k {
	case Counter:
		return "counter"
	case Gauge:
		return "gauge"
	case Histogram:
		return "histogram"
	default:
		return fmt.Sprintf("Kind(%d)", int(k))
	}
}

// ServiceLabel is the label that every series carries and that no caller sets: the registry adds it.
const ServiceLabel = "service"

// MaxLabelSets is the most label sets that one metric may have in one service. From the next one on,
// OpenTelemetry's SDK would fold what is new into a single series without labels.
const MaxLabelSets = 1999

// Metric declares one metric.
type Metric struct {
	Name        string    // exactly as in /metrics, for a histogram without _bucket, _sum and _count
	Kind        Kind      // Counter, Gauge or Histogram
	Help        string    // one sentence, without a newline
	Unit        string    // UCUM code ("s", "By", "EUR"), or "" for a plain number
	Labels      []string  // besides service
	Conditional []string  // those of Labels that a series lacks where they do not apply
	Buckets     []float64 // upper bounds, ascending, without +Inf; histograms only
	Bound       string    // why the label values are bounded; required when there are labels
	MaxSeries   int       // the most label sets there can be in one service; 0 if it is not stated
	Instrument  string    // the instrument's name in OpenTelemetry, where it is not Name: "http.server.request.duration"
	Documented  bool      // its name is a contract: renaming it breaks users
}

// Catalogue is a list of metrics.
type Catalogue []Metric

// Lookup returns the metric with that name.
func (c Catalogue) Lookup(name string) (Metric, bool) {
	i := slices.IndexFunc(c, func(m Metric) bool { return m.Name == name })
	if i < 0 {
		return Metric{}, false
	}
	return c[i], true
}

// Names returns the names in the order of the catalogue.
func (c Catalogue) Names() []string {
	names := make([]string, len(c))
	for i, m := range c {
		names[i] = m.Name
	}
	return names
}
