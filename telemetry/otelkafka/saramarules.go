package otelkafka

import (
	"strconv"
	"strings"

	"github.com/rcrowley/go-metrics"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry"
)

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
		"request-rate-for-broker":          counter(telemetry.KafkaClientRequestsTotal),
		"consumer-fetch-rate-for-broker":   counter(telemetry.KafkaClientFetchesTotal),
		"throttle-time-in-ms-for-broker":   counter(telemetry.KafkaClientThrottledResponsesTotal),
		"outgoing-byte-rate-for-broker":    counter(telemetry.KafkaClientSentBytesTotal),
		"incoming-byte-rate-for-broker":    counter(telemetry.KafkaClientReceivedBytesTotal),
		"requests-in-flight-for-broker":    {{metric: telemetry.KafkaClientRequestsInFlight, gauge: sumOf}},
		"request-latency-in-ms-for-broker": {sample(telemetry.KafkaClientRequestLatencySeconds, 1e-3)},
		"record-send-rate":                 counter(telemetry.KafkaClientRecordsSentTotal),
		"batch-size":                       append(counter(telemetry.KafkaClientBatchesSentTotal), sample(telemetry.KafkaClientBatchSizeBytes, 1)),
		"records-per-request":              {sample(telemetry.KafkaClientRecordsPerRequest, 1)},
		"compression-ratio":                {sample(telemetry.KafkaClientCompressionRatio, 1e-2)},
		"consumer-group-join-total":        counter(telemetry.KafkaClientGroupJoinsTotal),
		"consumer-group-join-failed":       counter(telemetry.KafkaClientGroupJoinFailuresTotal),
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
	brokers *telemetry.Budget
	made    map[saramaSeries][]metric.ObserveOption
}

func newSaramaLabels(client string, brokers *telemetry.Budget) *saramaLabels {
	return &saramaLabels{client: client, brokers: brokers, made: make(map[saramaSeries][]metric.ObserveOption)}
}

// series returns where an entry's figure goes; a broker beyond the budget goes with the others of its kind.
func (l *saramaLabels) series(name string, entry saramaEntry) saramaSeries {
	series := saramaSeries{metric: name, broker: entry.broker}
	if entry.broker != "" && !l.brokers.Admit(l.client, entry.broker) {
		series.broker = telemetry.LabelOther
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
