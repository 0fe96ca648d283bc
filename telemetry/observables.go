package telemetry

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/embedded"
)

// Int64ObservableGauge registers observe as the source of the gauge of that name. It runs at each scrape and must
// only read memory; a label set it leaves out is gone from the page. Of more label sets than the metric's MaxSeries,
// those observed last are left out. Unregister the result to stop it. It is an error if the catalogue has no gauge of
// that name.
func (i *Instruments) Int64ObservableGauge(name string, observe metric.Int64Callback) (metric.Registration, error) {
	m, err := i.find(name, Gauge)
	if err != nil {
		return nil, err
	}
	gauge, err := i.meter.Int64ObservableGauge(m.instrument(), metric.WithDescription(m.Help), metric.WithUnit(m.otelUnit()))
	if err != nil {
		return nil, fmt.Errorf("make gauge %s: %w", name, err)
	}
	registration, err := i.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		return observe(ctx, int64Observer{observer: o, gauge: gauge, left: m.room()})
	}, gauge)
	if err != nil {
		return nil, fmt.Errorf("register gauge %s: %w", name, err)
	}
	return registration, nil
}

// Float64ObservableGauge is [Instruments.Int64ObservableGauge] for values that are not whole.
func (i *Instruments) Float64ObservableGauge(name string, observe metric.Float64Callback) (metric.Registration, error) {
	m, err := i.find(name, Gauge)
	if err != nil {
		return nil, err
	}
	gauge, err := i.meter.Float64ObservableGauge(m.instrument(), metric.WithDescription(m.Help), metric.WithUnit(m.otelUnit()))
	if err != nil {
		return nil, fmt.Errorf("make gauge %s: %w", name, err)
	}
	registration, err := i.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		return observe(ctx, float64Observer{observer: o, gauge: gauge, left: m.room()})
	}, gauge)
	if err != nil {
		return nil, fmt.Errorf("register gauge %s: %w", name, err)
	}
	return registration, nil
}

// room returns a count of the label sets that one reading of the metric may give.
func (m Metric) room() *int {
	left := m.MaxSeries
	if left == 0 {
		left = MaxLabelSets
	}
	return &left
}

// int64Observer narrows an observer to one gauge. Callbacks given to an instrument itself can never be taken
// back, those given to the meter can: this lets a caller write the first and have the second.
type int64Observer struct {
	embedded.Int64Observer
	observer metric.Observer
	gauge    metric.Int64Observable
	left     *int
}

func (o int64Observer) Observe(value int64, options ...metric.ObserveOption) {
	if *o.left--; *o.left >= 0 {
		o.observer.ObserveInt64(o.gauge, value, options...)
	}
}

type float64Observer struct {
	embedded.Float64Observer
	observer metric.Observer
	gauge    metric.Float64ObservableGauge
	left     *int
}

func (o float64Observer) Observe(value float64, options ...metric.ObserveOption) {
	if *o.left--; *o.left >= 0 {
		o.observer.ObserveFloat64(o.gauge, value, options...)
	}
}
