package telemetry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/internal/labels"
)

// defaultScrapes bounds the scrapes served at once.
const defaultScrapes = 8

// addMetrics joins what the page gathers from: the meter provider, by way of OpenTelemetry's exporter, client_golang's
// own collectors of the Go runtime and the process, and a registry for others' collectors.
func (t *Telemetry) addMetrics(res *resource.Resource) error {
	own := prometheus.NewRegistry()
	t.registry = t.config.Registry
	if t.registry == nil {
		t.registry = prometheus.NewRegistry()
	}
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if t.reserve(c) != nil {
			continue // the application's registry has them already
		}
		if err := own.Register(c); err != nil {
			return fmt.Errorf("register the runtime's metrics: %w", err)
		}
	}
	for _, m := range slices.Concat(catalogue.Common(), catalogue.Optional()) { // what else is declared, others may collect
		if err := t.reserve(named(m.Name)); err != nil {
			return fmt.Errorf("the registry has a metric that is the library's to show, %s: %w", m.Name, err)
		}
	}
	page := newLabelled(t.config.Service, own, t.registry)
	if t.config.OmitServiceLabel {
		page.label = nil
	}
	options := []sdkmetric.Option{sdkmetric.WithResource(res), sdkmetric.WithView(textAlone)}
	exporter, err := newExporter(own)
	if err != nil {
		return err
	}
	options = append(options, sdkmetric.WithReader(exporter)) // the first: see withNatives
	if t.config.NativeHistograms {
		page.natives = prometheus.NewRegistry()
		exporter, err := newExporter(page.natives, otelprometheus.WithAggregationSelector(nativeAlone))
		if err != nil {
			return err
		}
		options = append(options, sdkmetric.WithReader(exporter))
	}
	if t.config.idle() { // no trace is sampled, but logs have its id
		options = append(options, sdkmetric.WithExemplarFilter(func(ctx context.Context) bool {
			return trace.SpanContextFromContext(ctx).IsValid()
		}))
	}
	t.meters = sdkmetric.NewMeterProvider(options...)
	t.gatherer = page
	t.page = t.newMetricsHandler()
	return nil
}

// newExporter returns OpenTelemetry's exporter for a registry.
func newExporter(registry *prometheus.Registry, options ...otelprometheus.Option) (*otelprometheus.Exporter, error) {
	exporter, err := otelprometheus.New(append(options,
		otelprometheus.WithRegisterer(registry),
		otelprometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
		otelprometheus.WithoutScopeInfo(),
		otelprometheus.WithoutTargetInfo(),
	)...)
	if err != nil {
		return nil, fmt.Errorf("make the Prometheus exporter: %w", err)
	}
	return exporter, nil
}

// idle says that spans go nowhere.
func (c Config) idle() bool {
	return len(c.SpanExporters) == 0 && len(c.SpanProcessors) == 0 && c.Keeper == nil && os.Getenv(samplerName) == ""
}

// reserve keeps the names of a collector of the library's from others' collectors. Two families of one name cannot both be
// on a page: who would add the second learns of it when it is registered, not by a gap at a scrape. It fails where others
// have such a name already; several services may share the registry.
func (t *Telemetry) reserve(c prometheus.Collector) error {
	err := t.registry.Register(reservation{c})
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if _, ours := already.ExistingCollector.(reservation); ours {
			return nil
		}
	}
	return err
}

// reservation has the names of a collector, and no metrics.
type reservation struct{ prometheus.Collector }

// Collect implements [prometheus.Collector].
func (reservation) Collect(chan<- prometheus.Metric) {}

// named is a collector of a metric's name alone.
type named string

// Describe implements [prometheus.Collector].
func (n named) Describe(names chan<- *prometheus.Desc) {
	names <- prometheus.NewDesc(string(n), "A metric of the package telemetry.", nil, nil)
}

// Collect implements [prometheus.Collector].
func (named) Collect(chan<- prometheus.Metric) {}

// newMetricsHandler serves what can be gathered even if part of it fails, and logs the failure: a page with a
// gap helps more than none. It bounds the scrapes at once where MaxScrapes is above 0.
func (t *Telemetry) newMetricsHandler() http.Handler {
	page := promhttp.HandlerFor(t.gatherer, promhttp.HandlerOpts{
		ErrorLog:            scrapeLog{t},
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: max(0, t.config.MaxScrapes),
		EnableOpenMetrics:   true,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		plain := *r
		plain.Header = maps.Clone(r.Header)
		plain.Header["Accept-Encoding"] = []string{contentCoding(r.Header.Values("Accept-Encoding"))}
		page.ServeHTTP(w, &plain)
	})
}

// contentCoding chooses gzip or identity by an Accept-Encoding (RFC 9110 section 12.5.3). promhttp does so too, but
// takes one that refuses what it has, such as gzip;q=0, for a fault of its own, and logs it at every scrape. Where
// neither is accepted the page goes out as it is, which the RFC allows.
func contentCoding(accepted []string) string {
	weights := map[string]float64{}
	for coding := range strings.SplitSeq(strings.ToLower(strings.Join(accepted, ",")), ",") {
		name, parameter, _ := strings.Cut(coding, ";")
		weight := 1.0
		if q, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q="); ok {
			weight, _ = strconv.ParseFloat(q, 64) // a weight that is none weighs nothing
		}
		weights[strings.TrimSpace(name)] = weight
	}
	zipped, named := weights["gzip"]
	if !named {
		zipped = weights["*"]
	}
	if zipped > 0 && zipped >= weights["identity"] {
		return "gzip"
	}
	return "identity"
}

// scrapeLog passes promhttp's errors on to the service's log, which is made after the page.
type scrapeLog struct{ t *Telemetry }

func (l scrapeLog) Println(v ...any) {
	l.t.logger.Error("metrics page is incomplete", "error", fmt.Sprint(v...))
}

// labelled gathers from own, puts the label service on what it finds, and adds what stands in others. The label is put
// on here and not by a registerer that wraps the collectors: that would describe each series again at each scrape, which
// is a tenth of what a page costs.
type labelled struct {
	own, others *prometheus.Registry
	natives     *prometheus.Registry // the histograms of own as native ones; nil for none
	label       *dto.LabelPair       // nil for none
}

func newLabelled(service string, own, others *prometheus.Registry) labelled {
	name := catalogue.ServiceLabel
	return labelled{own: own, others: others, label: &dto.LabelPair{Name: &name, Value: &service}}
}

// Gather implements [prometheus.Gatherer].
func (l labelled) Gather() ([]*dto.MetricFamily, error) {
	others, err := l.others.Gather()
	if len(others) == 0 && err == nil {
		own, err := l.gatherOwn()
		return withoutClashes(own), err
	}
	gathered := func() ([]*dto.MetricFamily, error) { return others, err }
	all, err := prometheus.Gatherers{prometheus.GathererFunc(l.gatherOwn), prometheus.GathererFunc(gathered)}.Gather()
	return withoutClashes(all), err
}

// withoutClashes leaves out the families that have the name of a counter without its _total. In OpenMetrics, whose
// counters are named so, the two would be one family with two types, and strict parsers refuse the page.
// client_golang's Go collector has such a pair, go_memstats_alloc_bytes, whose gauge go_memstats_heap_alloc_bytes
// repeats; the catalogue can have none.
func withoutClashes(families []*dto.MetricFamily) []*dto.MetricFamily {
	taken := map[string]bool{}
	for _, family := range families {
		if family.GetType() == dto.MetricType_COUNTER {
			taken[strings.TrimSuffix(family.GetName(), "_total")] = true
		}
	}
	return slices.DeleteFunc(families, func(family *dto.MetricFamily) bool {
		return family.GetType() != dto.MetricType_COUNTER && taken[family.GetName()]
	})
}

func (l labelled) gatherOwn() ([]*dto.MetricFamily, error) {
	families, err := l.own.Gather()
	if l.natives != nil {
		natives, missing := l.natives.Gather()
		withNatives(families, natives)
		err = errors.Join(err, missing)
	}
	if l.label == nil {
		return families, err
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			m.Label = l.insert(m.GetLabel())
		}
	}
	return families, err
}

// nativeAlone has a reader see histograms alone, with buckets that grow by 9 % each. OpenTelemetry's exporter shows a histogram
// by bounds or as a native one, never both, so that the page joins what two readers have.
func nativeAlone(kind sdkmetric.InstrumentKind) sdkmetric.Aggregation {
	if kind != sdkmetric.InstrumentKindHistogram {
		return sdkmetric.AggregationDrop{}
	}
	return sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 3, NoMinMax: true}
}

// withNatives adds to the histograms what they are as native ones. Prometheus refuses a native histogram whose buckets do not
// add up to its count: count and sum are those that were read with the native buckets. What was measured between the two
// readings is missing in the others; what only they have yet, since a measurement goes to one reader after the other, waits for
// the next scrape.
func withNatives(families, natives []*dto.MetricFamily) {
	known := make(map[string]*dto.Histogram)
	key := func(family *dto.MetricFamily, m *dto.Metric) string {
		parts := []string{family.GetName()}
		for _, pair := range m.GetLabel() {
			parts = append(parts, pair.GetName(), pair.GetValue())
		}
		return strings.Join(parts, "\xff") // which is in no text
	}
	for _, family := range natives {
		for _, m := range family.GetMetric() {
			known[key(family, m)] = m.GetHistogram()
		}
	}
	for _, family := range families {
		if family.GetType() != dto.MetricType_HISTOGRAM {
			continue
		}
		for _, m := range family.GetMetric() {
			native := known[key(family, m)]
			if native == nil {
				continue
			}
			native.Bucket, native.CreatedTimestamp = m.GetHistogram().GetBucket(), nil
			for _, bucket := range native.Bucket {
				count := min(bucket.GetCumulativeCount(), native.GetSampleCount())
				bucket.CumulativeCount = &count
			}
			m.Histogram = native
		}
	}
}

// insert returns a copy, for metrics may share their labels, with the label at its place in the order of names.
func (l labelled) insert(pairs []*dto.LabelPair) []*dto.LabelPair {
	at, _ := slices.BinarySearchFunc(pairs, catalogue.ServiceLabel, func(pair *dto.LabelPair, name string) int {
		return strings.Compare(pair.GetName(), name)
	})
	all := make([]*dto.LabelPair, 0, len(pairs)+1)
	return append(append(append(all, pairs[:at]...), l.label), pairs[at:]...)
}

// textAlone is the view of instruments that others make of [Telemetry.MeterProvider]: no catalogue declares their labels,
// but those whose values are no UTF-8 are left out, of their exemplars too.
func textAlone(i sdkmetric.Instrument) (sdkmetric.Stream, bool) {
	if i.Scope.Name == scope {
		return sdkmetric.Stream{}, false // held to the catalogue
	}
	return sdkmetric.Stream{
		Name: i.Name, Description: i.Description, Unit: i.Unit,
		AttributeFilter: func(label attribute.KeyValue) bool { return labels.ValidText(label.Value) },
		ExemplarReservoirProviderSelector: func(aggregation sdkmetric.Aggregation) exemplar.ReservoirProvider {
			provider := sdkmetric.DefaultExemplarReservoirProviderSelector(aggregation)
			return func(set attribute.Set) exemplar.Reservoir { return traceAlone{provider(set)} }
		},
	}, true
}

// traceAlone keeps the labels that were left out from coming back with an exemplar.
type traceAlone struct{ exemplar.Reservoir }

// Offer implements [exemplar.Reservoir].
func (r traceAlone) Offer(ctx context.Context, at time.Time, value exemplar.Value, _ []attribute.KeyValue) {
	r.Reservoir.Offer(ctx, at, value, nil)
}
