package otelkafka

import (
	"context"
	"maps"
	"sync"

	"github.com/rcrowley/go-metrics"

	"github.com/vigie-dev/vigie/telemetry"
)

// saramaReader reads one client's registry. Its lock lets several scrapes run at once.
type saramaReader struct {
	registry metrics.Registry
	labels   *saramaLabels
	rules    map[string][]saramaRule

	mu     sync.Mutex
	totals map[saramaSeries]int64 // of figures that are gone from the registry
	live   map[saramaFigure]saramaCounter
}

// saramaFigure is what a rule makes of one entry of the registry.
type saramaFigure struct{ entry, metric string }

// saramaCounter is a counter's place in the registry: the very object, so that another of its name is told from it.
type saramaCounter struct {
	source any
	count  func() int64
	series saramaSeries
}

func newSaramaReader(client string, registry metrics.Registry, brokers *telemetry.Budget) *saramaReader {
	return &saramaReader{
		registry: registry, labels: newSaramaLabels(client, brokers), rules: saramaRules(),
		totals: make(map[saramaSeries]int64), live: make(map[saramaFigure]saramaCounter),
	}
}

// read gives every figure in the registry to o. A figure that is gone keeps its last count for ever, as a counter's
// series must; a gauge goes.
func (r *saramaReader) read(_ context.Context, o telemetry.Observation) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	gauges := make(map[saramaSeries]float64)
	present := make(map[saramaFigure]struct{}, len(r.live))
	r.registry.Each(func(name string, source any) {
		entry, ok := parseEntry(name)
		if !ok {
			return
		}
		for _, rule := range r.rules[entry.name] {
			series := r.labels.series(rule.metric, entry)
			if rule.count != nil {
				r.count(saramaFigure{name, rule.metric}, source, rule, series)
				present[saramaFigure{name, rule.metric}] = struct{}{}
			} else {
				rule.gauge(source, series, gauges)
			}
		}
	})
	r.retire(present)
	r.observe(o, gauges)
	return nil
}

// count notes a counter. One that stands where another was before leaves that one's count in the total.
func (r *saramaReader) count(figure saramaFigure, source any, rule saramaRule, series saramaSeries) {
	before, known := r.live[figure]
	if known && before.source == source {
		return
	}
	if known {
		r.totals[before.series] += before.count()
	}
	r.live[figure] = saramaCounter{source: source, count: func() int64 { return rule.count(source) }, series: series}
}

// retire moves the counters that are gone into the totals.
func (r *saramaReader) retire(present map[saramaFigure]struct{}) {
	for figure, c := range r.live {
		if _, ok := present[figure]; !ok {
			r.totals[c.series] += c.count()
			delete(r.live, figure)
		}
	}
}

func (r *saramaReader) observe(o telemetry.Observation, gauges map[saramaSeries]float64) {
	totals := maps.Clone(r.totals)
	for _, c := range r.live {
		totals[c.series] += c.count()
	}
	for series, total := range totals {
		o.Counter(series.metric, total, r.labels.options(series)...)
	}
	for series, value := range gauges {
		o.Gauge(series.metric, value, r.labels.options(series)...)
	}
}
