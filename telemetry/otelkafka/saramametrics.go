package otelkafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"

	"github.com/rcrowley/go-metrics"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

// ObserveSarama puts what sarama itself measures of one client on the page: the metrics of [catalogue.SaramaMetrics],
// read from the client's registry (sarama.Config.MetricRegistry) while the page is made. client names the client
// in the label of that name ("producer", "consumer"). It starts no goroutine and nothing is measured twice.
// The function returned takes the series off the page.
//
// Counters do not go back when a connection closes: sarama then takes a broker's figures out of the registry and
// starts new ones from zero, and what they had counted is kept here. Only a connection that opens and closes again
// between two scrapes is not seen.
// Percentiles are sarama's own, of a sample that favours the last five minutes: see [catalogue.SaramaMetrics].
//
// Give each client a registry of its own, with sarama.Config.MetricRegistry = metrics.NewRegistry(). Where clients
// share one, as they do with a shared Config, the connection that closes first stops the counters of the others
// until they connect again; sarama does that, and the registry does not show it.
//
// It is an error to observe more than [catalogue.MaxSaramaClients] names in one service, or one name twice at a time.
func ObserveSarama(i *Instrumentation, client string, registry metrics.Registry) (unregister func() error, err error) {
	fail := func(err error) (func() error, error) {
		return nil, fmt.Errorf("observe sarama client %q: %w", client, err)
	}
	if registry == nil {
		return fail(errors.New("no registry"))
	}
	if client == "" || !i.instruments.Budget(catalogue.KafkaClientRecordsSentTotal, 0).Admit(client) {
		return fail(fmt.Errorf("want a name, and at most %d of them", catalogue.MaxSaramaClients))
	}
	if !i.observed.add(client) {
		return fail(errors.New("it is observed already"))
	}
	reader := newSaramaReader(client, registry, i.instruments.Budget(catalogue.KafkaClientRequestsTotal, catalogue.MaxSaramaClients))
	registration, err := i.instruments.Observe(catalogue.SaramaMetrics().Names(), reader.read)
	if err != nil {
		i.observed.remove(client)
		return fail(err)
	}
	return func() error {
		defer i.observed.remove(client)
		return registration.Unregister()
	}, nil
}

// observedClients are the names of the clients observed now.
type observedClients struct {
	mu    sync.Mutex
	names map[string]struct{}
}

func (o *observedClients) add(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.names[name]; ok {
		return false
	}
	if o.names == nil {
		o.names = make(map[string]struct{})
	}
	o.names[name] = struct{}{}
	return true
}

func (o *observedClients) remove(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.names, name)
}

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

// saramaCounter is a counter's place in the registry: the very object, so that it is distinguished from another of
// its name.
type saramaCounter struct {
	source any
	count  func() int64
	series saramaSeries
}

func newSaramaReader(client string, registry metrics.Registry, brokers *catalogue.Budget) *saramaReader {
	return &saramaReader{
		registry: registry, labels: newSaramaLabels(client, brokers), rules: saramaRules(),
		totals: make(map[saramaSeries]int64), live: make(map[saramaFigure]saramaCounter),
	}
}

// read gives every figure in the registry to o. A figure that is gone keeps its last count for ever, as a counter's
// series must; a gauge goes.
func (r *saramaReader) read(_ context.Context, o catalogue.Observation) error {
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

func (r *saramaReader) observe(o catalogue.Observation, gauges map[saramaSeries]float64) {
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

// saramaEntry is the name of an entry of sarama's registry, taken apart.
type saramaEntry struct {
	name   string // without the broker or the group
	broker string // its id, or "" for the client's own figures
}

// parseEntry takes a name apart. Figures of a topic, of which there can be any number, are left out: every one of them
// is in its client's figure too. So are those of all brokers, where there is one for each broker: sarama loses the
// former's counts when the connection to any broker closes.
func parseEntry(name string) (saramaEntry, bool) {
	for _, prefix := range []string{"consumer-group-join-total", "consumer-group-join-failed"} {
		if strings.HasPrefix(name, prefix+"-") {
			return saramaEntry{name: prefix}, true
		}
	}
	before, broker, found := strings.Cut(name, "-for-broker-")
	if !found {
		return saramaEntry{name: name}, true
	}
	if _, err := strconv.ParseUint(broker, 10, 31); err != nil {
		return saramaEntry{}, false
	}
	return saramaEntry{name: before + "-for-broker", broker: broker}, true
}

// saramaRule makes one metric of an entry: a counter, or gauges.
type saramaRule struct {
	metric string
	count  func(source any) int64
	gauge  func(source any, series saramaSeries, into map[saramaSeries]float64)
}

// saramaRules returns the rules of each entry, by its name.
func saramaRules() map[string][]saramaRule {
	counter := func(name string) []saramaRule { return []saramaRule{{metric: name, count: countOf}} }
	sample := func(name string, unit float64) saramaRule {
		return saramaRule{metric: name, gauge: percentilesOf(unit)}
	}
	return map[string][]saramaRule{
		"request-rate-for-broker":          counter(catalogue.KafkaClientRequestsTotal),
		"consumer-fetch-rate-for-broker":   counter(catalogue.KafkaClientFetchesTotal),
		"throttle-time-in-ms-for-broker":   counter(catalogue.KafkaClientThrottledResponsesTotal),
		"outgoing-byte-rate-for-broker":    counter(catalogue.KafkaClientSentBytesTotal),
		"incoming-byte-rate-for-broker":    counter(catalogue.KafkaClientReceivedBytesTotal),
		"requests-in-flight-for-broker":    {{metric: catalogue.KafkaClientRequestsInFlight, gauge: sumOf}},
		"request-latency-in-ms-for-broker": {sample(catalogue.KafkaClientRequestLatencySeconds, 1e-3)},
		"record-send-rate":                 counter(catalogue.KafkaClientRecordsSentTotal),
		"batch-size":                       append(counter(catalogue.KafkaClientBatchesSentTotal), sample(catalogue.KafkaClientBatchSizeBytes, 1)),
		"records-per-request":              {sample(catalogue.KafkaClientRecordsPerRequest, 1)},
		"compression-ratio":                {sample(catalogue.KafkaClientCompressionRatio, 1e-2)},
		"consumer-group-join-total":        counter(catalogue.KafkaClientGroupJoinsTotal),
		"consumer-group-join-failed":       counter(catalogue.KafkaClientGroupJoinFailuresTotal),
	}
}

// countOf reads how often, or how much, an entry has counted. It outlives the entry's removal from the registry.
func countOf(source any) int64 {
	if c, ok := source.(interface{ Count() int64 }); ok {
		return c.Count()
	}
	return 0
}

func sumOf(source any, series saramaSeries, into map[saramaSeries]float64) {
	into[series] += float64(countOf(source))
}

// percentilesOf reads the percentiles of a histogram that has measured something, in multiples of unit. Of several
// that share a series the greatest is kept.
func percentilesOf(unit float64) func(source any, series saramaSeries, into map[saramaSeries]float64) {
	return func(source any, series saramaSeries, into map[saramaSeries]float64) {
		h, ok := source.(metrics.Histogram)
		if !ok || h.Count() == 0 {
			return
		}
		for i, value := range h.Percentiles([]float64{.50, .95, .99}) {
			series.percentile = [...]string{"50", "95", "99"}[i]
			into[series] = max(into[series], value*unit)
		}
	}
}

// saramaSeries is one label set of one metric; empty fields are no labels.
type saramaSeries struct{ metric, broker, percentile string }

// saramaLabels keeps the label sets of one client.
type saramaLabels struct {
	client  string
	brokers *catalogue.Budget
	made    map[saramaSeries][]metric.ObserveOption
}

func newSaramaLabels(client string, brokers *catalogue.Budget) *saramaLabels {
	return &saramaLabels{client: client, brokers: brokers, made: make(map[saramaSeries][]metric.ObserveOption)}
}

// series returns where an entry's figure goes; a broker beyond the budget goes with the others of its kind.
func (l *saramaLabels) series(name string, entry saramaEntry) saramaSeries {
	series := saramaSeries{metric: name, broker: entry.broker}
	if entry.broker != "" && !l.brokers.Admit(l.client, entry.broker) {
		series.broker = catalogue.LabelOther
	}
	return series
}

func (l *saramaLabels) options(series saramaSeries) []metric.ObserveOption {
	if made := l.made[series]; made != nil {
		return made
	}
	list := []attribute.KeyValue{attribute.String("client", l.client)}
	if series.broker != "" {
		list = append(list, attribute.String("broker", series.broker))
	}
	if series.percentile != "" {
		list = append(list, attribute.String("percentile", series.percentile))
	}
	l.made[series] = []metric.ObserveOption{metric.WithAttributeSet(attribute.NewSet(list...))}
	return l.made[series]
}
