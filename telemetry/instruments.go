package telemetry

import (
	"fmt"
	"sync"

	"go.opentelemetry.io/otel/metric"
)

// Instruments builds OpenTelemetry instruments from the catalogue. Asking twice for one name gives the same
// instrument. All methods are safe for concurrent use.
type Instruments struct {
	meter   metric.Meter
	byName  map[string]Metric
	mu      sync.Mutex
	budgets map[string]*Budget
}

func newInstruments(meter metric.Meter, catalogue Catalogue) *Instruments {
	byName := make(map[string]Metric, len(catalogue))
	for _, m := range catalogue {
		byName[m.Name] = m
	}
	return &Instruments{meter: meter, byName: byName, budgets: make(map[string]*Budget)}
}

// Int64Counter returns the counter of that name. It is an error if the catalogue has no counter of that name.
// Add(ctx, 0, …) once per label set at start, so that the series exists before its first event.
func (i *Instruments) Int64Counter(name string) (metric.Int64Counter, error) {
	m, err := i.find(name, Counter)
	if err != nil {
		return nil, err
	}
	c, err := i.meter.Int64Counter(m.instrument(), metric.WithDescription(m.Help), metric.WithUnit(m.otelUnit()))
	if err != nil {
		return nil, fmt.Errorf("make counter %s: %w", name, err)
	}
	return c, nil
}

// Float64Counter is [Instruments.Int64Counter] for amounts that are not whole. What it counts in seconds has exemplars;
// see [Instruments.Float64Histogram].
func (i *Instruments) Float64Counter(name string) (metric.Float64Counter, error) {
	m, err := i.find(name, Counter)
	if err != nil {
		return nil, err
	}
	c, err := i.meter.Float64Counter(m.instrument(), metric.WithDescription(m.Help), metric.WithUnit(m.otelUnit()))
	if err != nil {
		return nil, fmt.Errorf("make counter %s: %w", name, err)
	}
	if m.Unit != seconds {
		return aggregatedCounter{c}, nil
	}
	return c, nil
}

// Float64Histogram returns the histogram of that name with the catalogue's buckets. It is an error if the
// catalogue has no histogram of that name.
//
// An exemplar shows one measurement exactly, beside its trace. That is harmless for a time (unit "s") and a disclosure
// for an amount, which a bucket only bounds: histograms of any other unit have no exemplars.
func (i *Instruments) Float64Histogram(name string) (metric.Float64Histogram, error) {
	m, err := i.find(name, Histogram)
	if err != nil {
		return nil, err
	}
	h, err := i.meter.Float64Histogram(m.instrument(), metric.WithDescription(m.Help), metric.WithUnit(m.otelUnit()),
		metric.WithExplicitBucketBoundaries(m.Buckets...))
	if err != nil {
		return nil, fmt.Errorf("make histogram %s: %w", name, err)
	}
	if m.Unit != seconds {
		return aggregatedHistogram{h}, nil
	}
	return h, nil
}

// find returns the declaration, or why it cannot be used as wanted.
func (i *Instruments) find(name string, kind Kind) (Metric, error) {
	m, ok := i.byName[name]
	if !ok {
		return Metric{}, fmt.Errorf("metric %s is not in the catalogue", name)
	}
	if m.Kind != kind {
		return Metric{}, fmt.Errorf("metric %s is a %s in the catalogue, not a %s", name, m.Kind, kind)
	}
	return m, nil
}

// instrument returns the name to give to OpenTelemetry, from which the Prometheus exporter makes Name.
func (m Metric) instrument() string {
	if m.Instrument != "" {
		return m.Instrument
	}
	return m.Name
}

// otelUnit returns the unit to give to OpenTelemetry. The Prometheus exporter appends a unit's name unless the
// metric's name already ends in it, so a unit that it would spell out (EUR) stays in the catalogue only. An
// instrument with a name of its own has its convention's unit.
func (m Metric) otelUnit() string {
	if suffix(m.Unit) == "" && m.Instrument == "" {
		return ""
	}
	return m.Unit
}
