package telemetry

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/metric"
)

// Observation takes the values of one reading of several metrics; see [Instruments.Observe].
type Observation struct {
	observer metric.Observer
	counters map[string]metric.Int64Observable
	gauges   map[string]metric.Float64Observable
}

// Counter gives a counter's total so far. A total below the last one stands for a start from zero.
func (o Observation) Counter(name string, total int64, options ...metric.ObserveOption) {
	if c := o.counters[name]; c != nil {
		o.observer.ObserveInt64(c, total, options...)
	}
}

// Gauge gives a gauge's value.
func (o Observation) Gauge(name string, value float64, options ...metric.ObserveOption) {
	if g := o.gauges[name]; g != nil {
		o.observer.ObserveFloat64(g, value, options...)
	}
}

// Observe registers observe as the source of several counters and gauges that are best read together. It runs at
// each scrape and must only read memory; a label set it leaves out is gone from the page, and a name that was not
// registered is ignored. Sources of one counter add up. Unregister the result to stop it. It is an error if the
// catalogue lacks a name or calls it a histogram.
func (i *Instruments) Observe(
	names []string, observe func(context.Context, Observation) error,
) (metric.Registration, error) {
	o := Observation{
		counters: make(map[string]metric.Int64Observable), gauges: make(map[string]metric.Float64Observable),
	}
	var all []metric.Observable
	for _, name := range names {
		made, err := i.observable(name, o)
		if err != nil {
			return nil, err
		}
		all = append(all, made)
	}
	registration, err := i.meter.RegisterCallback(func(ctx context.Context, observer metric.Observer) error {
		o := o
		o.observer = observer
		return observe(ctx, o)
	}, all...)
	if err != nil {
		return nil, fmt.Errorf("register %d metrics: %w", len(names), err)
	}
	return registration, nil
}

// observable makes the instrument that the catalogue says and files it in o.
func (i *Instruments) observable(name string, o Observation) (metric.Observable, error) {
	if m, err := i.find(name, Counter); err == nil {
		c, err := i.meter.Int64ObservableCounter(m.instrument(), metric.WithDescription(m.Help), metric.WithUnit(m.otelUnit()))
		if err != nil {
			return nil, fmt.Errorf("make counter %s: %w", name, err)
		}
		o.counters[name] = c
		return c, nil
	}
	m, err := i.find(name, Gauge)
	if err != nil {
		return nil, err
	}
	g, err := i.meter.Float64ObservableGauge(m.instrument(), metric.WithDescription(m.Help), metric.WithUnit(m.otelUnit()))
	if err != nil {
		return nil, fmt.Errorf("make gauge %s: %w", name, err)
	}
	o.gauges[name] = g
	return g, nil
}

// Int64ObservableSum is [Instruments.Int64ObservableGauge] for a gauge whose sources add up: two that give the same
// label set a value each show as their sum, not as one of them.
func (i *Instruments) Int64ObservableSum(name string, observe metric.Int64Callback) (metric.Registration, error) {
	m, err := i.find(name, Gauge)
	if err != nil {
		return nil, err
	}
	sum, err := i.meter.Int64ObservableUpDownCounter(m.instrument(), metric.WithDescription(m.Help), metric.WithUnit(m.otelUnit()))
	if err != nil {
		return nil, fmt.Errorf("make gauge %s: %w", name, err)
	}
	registration, err := i.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		return observe(ctx, int64Observer{observer: o, gauge: sum, left: m.room()})
	}, sum)
	if err != nil {
		return nil, fmt.Errorf("register gauge %s: %w", name, err)
	}
	return registration, nil
}
