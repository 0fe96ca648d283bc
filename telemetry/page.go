package telemetry

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/otlptranslator"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
)

// maxScrapes bounds the scrapes served at once; more are answered 503.
const maxScrapes = 8

// addMetrics joins what the page gathers from: the meter provider, by way of OpenTelemetry's exporter, client_golang's
// own collectors of the Go runtime and the process, and a registry for others' collectors.
func (t *Telemetry) addMetrics(res *resource.Resource) error {
	own := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := own.Register(c); err != nil {
			return fmt.Errorf("register the runtime's metrics: %w", err)
		}
	}
	exporter, err := otelprometheus.New(
		otelprometheus.WithRegisterer(own),
		otelprometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
		otelprometheus.WithoutScopeInfo(),
		otelprometheus.WithoutTargetInfo(),
	)
	if err != nil {
		return fmt.Errorf("make the Prometheus exporter: %w", err)
	}
	t.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter), sdkmetric.WithResource(res))
	t.registry = prometheus.NewRegistry()
	t.gatherer = newLabelled(t.config.Service, own, t.registry)
	return nil
}

// newMetricsHandler serves what can be gathered even if part of it fails, and logs the failure: a page with a
// gap helps more than none.
func newMetricsHandler(gatherer prometheus.Gatherer, logger *slog.Logger) http.Handler {
	return promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{
		ErrorLog:            scrapeLog{logger},
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
		EnableOpenMetrics:   true,
	})
}

// scrapeLog passes promhttp's errors on to the service's log.
type scrapeLog struct{ logger *slog.Logger }

func (l scrapeLog) Println(v ...any) {
	l.logger.Error("metrics page is incomplete", "error", fmt.Sprint(v...))
}

// labelled gathers from own, puts the label service on what it finds, and adds what stands in others. The label is put
// on here and not by a registerer that wraps the collectors: that would describe each series again at each scrape, which
// is a tenth of what a page costs.
type labelled struct {
	own, others *prometheus.Registry
	label       *dto.LabelPair
}

func newLabelled(service string, own, others *prometheus.Registry) labelled {
	name := ServiceLabel
	return labelled{own: own, others: others, label: &dto.LabelPair{Name: &name, Value: &service}}
}

// Gather implements [prometheus.Gatherer].
func (l labelled) Gather() ([]*dto.MetricFamily, error) {
	others, err := l.others.Gather()
	if len(others) == 0 && err == nil {
		return l.gatherOwn()
	}
	gathered := func() ([]*dto.MetricFamily, error) { return others, err }
	return prometheus.Gatherers{prometheus.GathererFunc(l.gatherOwn), prometheus.GathererFunc(gathered)}.Gather()
}

func (l labelled) gatherOwn() ([]*dto.MetricFamily, error) {
	families, err := l.own.Gather()
	for _, family := range families {
		for _, m := range family.GetMetric() {
			m.Label = l.insert(m.GetLabel())
		}
	}
	return families, err
}

// insert returns a copy, for metrics may share their labels, with the label at its place in the order of names.
func (l labelled) insert(labels []*dto.LabelPair) []*dto.LabelPair {
	at, _ := slices.BinarySearchFunc(labels, ServiceLabel, func(pair *dto.LabelPair, name string) int {
		return strings.Compare(pair.GetName(), name)
	})
	all := make([]*dto.LabelPair, 0, len(labels)+1)
	return append(append(append(all, labels[:at]...), l.label), labels[at:]...)
}
