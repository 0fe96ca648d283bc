package catalogue

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/embedded"
)

// Scope is the name of the meter that all instruments of a catalogue belong to, whoever makes them: a provider then has
// each of them once.
const Scope = "github.com/vigie-dev/vigie/telemetry"

// Instruments builds OpenTelemetry instruments from the catalogue. Asking twice for one name gives the same
// instrument. All methods are safe for concurrent use.
//
// What they measure is held to the catalogue: a label that it does not declare is left out, a value that is not UTF-8 is
// repaired with U+FFFD, one over 1,024 bytes is cut, and a counter takes nothing below 0.
type Instruments struct {
	meter   metric.Meter
	byName  map[string]Metric
	mu      sync.Mutex
	budgets map[string]*Budget
	rooms   map[string]*Room
}

// NewInstruments returns the instruments of the catalogue, made of a meter of any provider: the histograms' buckets are
// hints that a view of the provider may overrule. [Catalogue.Validate] says whether the catalogue is sound.
func NewInstruments(provider metric.MeterProvider, catalogue Catalogue) *Instruments {
	byName := make(map[string]Metric, len(catalogue))
	for _, m := range catalogue {
		byName[m.Name] = m
	}
	return &Instruments{
		meter: provider.Meter(Scope), byName: byName, budgets: make(map[string]*Budget), rooms: make(map[string]*Room),
	}
}

// Int64Counter returns the counter of that name. It is an error if the catalogue has no counter of that name.
// Add(ctx, 0, …) once per label set at start, so that the series exists before its first event.
func (i *Instruments) Int64Counter(name string) (metric.Int64Counter, error) {
	m, err := i.find(name, Counter)
	if err != nil {
		return nil, err
	}
	c, err := i.meter.Int64Counter(m.InstrumentName(), metric.WithDescription(m.Help), metric.WithUnit(m.otelUnit()))
	if err != nil {
		return nil, fmt.Errorf("make counter %s: %w", name, err)
	}
	return heldInt64Counter{c, m}, nil
}

// Float64Counter is [Instruments.Int64Counter] for amounts that are not whole. What it counts in seconds has exemplars;
// see [Instruments.Float64Histogram].
func (i *Instruments) Float64Counter(name string) (metric.Float64Counter, error) {
	m, err := i.find(name, Counter)
	if err != nil {
		return nil, err
	}
	c, err := i.meter.Float64Counter(m.InstrumentName(), metric.WithDescription(m.Help), metric.WithUnit(m.otelUnit()))
	if err != nil {
		return nil, fmt.Errorf("make counter %s: %w", name, err)
	}
	return heldFloat64Counter{c, m}, nil
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
	h, err := i.meter.Float64Histogram(m.InstrumentName(), metric.WithDescription(m.Help), metric.WithUnit(m.otelUnit()),
		metric.WithExplicitBucketBoundaries(m.Buckets...))
	if err != nil {
		return nil, fmt.Errorf("make histogram %s: %w", name, err)
	}
	return heldFloat64Histogram{h, m}, nil
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

// InstrumentName returns the metric's name in OpenTelemetry, from which the Prometheus exporter makes Name. It is
// Instrument or, without one, Name with dots and without what that exporter appends: "kafka.messages.produced" for
// kafka_messages_produced_total. A gauge keeps its unit, for it often stands beside one of the same name without.
func (m Metric) InstrumentName() string {
	name := m.Name
	switch {
	case m.Instrument != "":
		return m.Instrument
	case m.Kind == Counter:
		name = strings.TrimSuffix(strings.TrimSuffix(name, "_total"), suffix(m.Unit))
	case m.Kind == Histogram:
		name = strings.TrimSuffix(name, suffix(m.Unit))
	}
	return strings.ReplaceAll(name, "_", ".")
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

// seconds is the unit of times.
const seconds = "s"

// Budget keeps a metric within the MaxSeries of the catalogue, whatever label values come. It is safe for
// concurrent use. It allocates and locks: ask once for each label set and keep what follows from the answer.
type Budget struct {
	limit int
	mu    sync.Mutex
	seen  map[string]struct{}
}

// Budget returns the budget of the metric of that name: its MaxSeries less spare, the label sets that refused ones
// fold into. All callers share one budget; the first decides on spare. A metric that states no MaxSeries, or is not
// in the catalogue, admits nothing.
func (i *Instruments) Budget(name string, spare int) *Budget {
	i.mu.Lock()
	defer i.mu.Unlock()
	b := i.budgets[name]
	if b == nil {
		b = &Budget{limit: i.byName[name].MaxSeries - spare, seen: make(map[string]struct{})}
		i.budgets[name] = b
	}
	return b
}

// Admit says whether the label set with these values may have a series of its own: it was admitted before, or there
// is room. The answer for a set that was admitted never changes. A value that is longer than 1,024 bytes or not UTF-8
// is refused.
func (b *Budget) Admit(values ...string) bool {
	key, ok := labelSetKey(values)
	if !ok {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.seen[key]; ok {
		return true
	}
	if len(b.seen) >= b.limit {
		return false
	}
	b.seen[key] = struct{}{}
	return true
}

// labelSetKey distinguishes label sets, or says that one has a value that no label may have.
func labelSetKey(values []string) (string, bool) {
	var key strings.Builder
	for _, v := range values {
		if len(v) > maxLabelValue || !utf8.ValidString(v) {
			return "", false
		}
		key.WriteString(strconv.Itoa(len(v)) + " " + v)
	}
	return key.String(), true
}

// Room is to label sets that come and go, such as partitions that a consumer is assigned, what [Budget] is to those that
// stay: who leaves gives the place back, and who has one keeps it until then. It is safe for concurrent use.
type Room struct {
	limit int
	mu    sync.Mutex
	taken map[string]int // by how many
}

// Room returns the room of the metric of that name: its MaxSeries. All callers share one.
func (i *Instruments) Room(name string) *Room {
	i.mu.Lock()
	defer i.mu.Unlock()
	r := i.rooms[name]
	if r == nil {
		r = &Room{limit: i.byName[name].MaxSeries, taken: make(map[string]int)}
		i.rooms[name] = r
	}
	return r
}

// Take says whether the label set with these values has a place, which then is to be given back by [Room.Leave]. Several
// may take one label set's.
func (r *Room) Take(values ...string) bool {
	key, ok := labelSetKey(values)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !ok || (r.taken[key] == 0 && len(r.taken) >= r.limit) {
		return false
	}
	r.taken[key]++
	return true
}

// Leave gives a place back that was taken.
func (r *Room) Leave(values ...string) {
	key, _ := labelSetKey(values)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken[key]--; r.taken[key] <= 0 {
		delete(r.taken, key)
	}
}

// Observation takes the values of one reading of several metrics; see [Instruments.Observe].
type Observation struct {
	observer metric.Observer
	byName   map[string]Metric
	counters map[string]metric.Int64Observable
	gauges   map[string]metric.Float64Observable
}

// Counter gives a counter's total so far. A total below the last one stands for a start from zero.
func (o Observation) Counter(name string, total int64, options ...metric.ObserveOption) {
	if c := o.counters[name]; c != nil {
		o.observer.ObserveInt64(c, total, o.byName[name].holdObserve(options)...)
	}
}

// Gauge gives a gauge's value.
func (o Observation) Gauge(name string, value float64, options ...metric.ObserveOption) {
	if g := o.gauges[name]; g != nil {
		o.observer.ObserveFloat64(g, value, o.byName[name].holdObserve(options)...)
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
		byName:   i.byName,
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
		c, err := i.meter.Int64ObservableCounter(m.InstrumentName(), metric.WithDescription(m.Help), metric.WithUnit(m.otelUnit()))
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
	g, err := i.meter.Float64ObservableGauge(m.InstrumentName(), metric.WithDescription(m.Help), metric.WithUnit(m.otelUnit()))
	if err != nil {
		return nil, fmt.Errorf("make gauge %s: %w", name, err)
	}
	o.gauges[name] = g
	return g, nil
}

// Int64ObservableSum is [Instruments.Int64ObservableGauge] for a gauge whose sources add up: two that give the same
// label set a value each show as their sum, not as one of them. The catalogue declares it as a Sum.
func (i *Instruments) Int64ObservableSum(name string, observe metric.Int64Callback) (metric.Registration, error) {
	m, err := i.find(name, Gauge)
	if err != nil {
		return nil, err
	}
	if !m.Sum {
		return nil, fmt.Errorf("metric %s is not declared as a sum", name)
	}
	sum, err := i.meter.Int64ObservableUpDownCounter(m.InstrumentName(), metric.WithDescription(m.Help), metric.WithUnit(m.otelUnit()))
	if err != nil {
		return nil, fmt.Errorf("make gauge %s: %w", name, err)
	}
	registration, err := i.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		return observe(ctx, int64Observer{observer: o, gauge: sum, declared: m, left: m.room()})
	}, sum)
	if err != nil {
		return nil, fmt.Errorf("register gauge %s: %w", name, err)
	}
	return registration, nil
}

// Int64ObservableGauge registers observe as the source of the gauge of that name. It runs at each scrape and must
// only read memory; a label set it leaves out is gone from the page. Of more label sets than the metric's MaxSeries,
// those observed last are left out. Unregister the result to stop it. It is an error if the catalogue has no gauge of
// that name.
func (i *Instruments) Int64ObservableGauge(name string, observe metric.Int64Callback) (metric.Registration, error) {
	m, err := i.find(name, Gauge)
	if err != nil {
		return nil, err
	}
	gauge, err := i.meter.Int64ObservableGauge(m.InstrumentName(), metric.WithDescription(m.Help), metric.WithUnit(m.otelUnit()))
	if err != nil {
		return nil, fmt.Errorf("make gauge %s: %w", name, err)
	}
	registration, err := i.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		return observe(ctx, int64Observer{observer: o, gauge: gauge, declared: m, left: m.room()})
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
	gauge, err := i.meter.Float64ObservableGauge(m.InstrumentName(), metric.WithDescription(m.Help), metric.WithUnit(m.otelUnit()))
	if err != nil {
		return nil, fmt.Errorf("make gauge %s: %w", name, err)
	}
	registration, err := i.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		return observe(ctx, float64Observer{observer: o, gauge: gauge, declared: m, left: m.room()})
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
	declared Metric
	left     *int
}

func (o int64Observer) Observe(value int64, options ...metric.ObserveOption) {
	if *o.left--; *o.left >= 0 {
		o.observer.ObserveInt64(o.gauge, value, o.declared.holdObserve(options)...)
	}
}

type float64Observer struct {
	embedded.Float64Observer
	observer metric.Observer
	gauge    metric.Float64ObservableGauge
	declared Metric
	left     *int
}

func (o float64Observer) Observe(value float64, options ...metric.ObserveOption) {
	if *o.left--; *o.left >= 0 {
		o.observer.ObserveFloat64(o.gauge, value, o.declared.holdObserve(options)...)
	}
}
