package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// scope is the name of this package's meter.
const scope = "github.com/vigie-dev/vigie/telemetry"

// Telemetry is one service's metrics, traces and logs. All methods are safe for concurrent use.
type Telemetry struct {
	config      Config
	catalogue   Catalogue
	logger      *slog.Logger
	registry    *prometheus.Registry // for others' collectors
	gatherer    prometheus.Gatherer
	meters      *sdkmetric.MeterProvider
	tracers     *sdktrace.TracerProvider
	spans       trace.TracerProvider // tracers, or idleProvider where spans go nowhere
	records     *sdklog.LoggerProvider
	outlets     []stopper // what sends spans and log records away
	losses      struct{ spans, records lossCounter }
	propagator  propagation.TextMapPropagator
	instruments *Instruments
	http        *httpMetrics
	page        http.Handler
	shutdown    func(context.Context) error
}

// Setup builds a service's telemetry. It opens no port and touches no global; it starts one goroutine for each of
// the configuration's exporters, which [Telemetry.Shutdown] ends. The standard OTEL_* variables that the SDK reads
// (sampler, limits, batches, resource attributes) apply; service.name and service.version come from the
// configuration. It fails if the configuration or the catalogue is invalid; the exporters and processors are then
// still the caller's to shut down.
func Setup(ctx context.Context, config Config) (*Telemetry, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("set up telemetry: %w", err)
	}
	catalogue := slices.Concat(Common(), Optional(), config.Catalogue)
	if err := catalogue.Validate(); err != nil {
		return nil, fmt.Errorf("set up telemetry of %s: %w", config.Service, err)
	}
	t := &Telemetry{config: config, catalogue: catalogue, propagator: newPropagator()}
	resource, missing := newResource(ctx, config)
	own, meters, err := newMeterProvider(resource)
	t.meters, t.registry = meters, prometheus.NewRegistry()
	t.gatherer = newLabelled(config.Service, own, t.registry)
	if err == nil {
		err = t.addInstruments()
	}
	if err != nil {
		return nil, fmt.Errorf("set up telemetry of %s: %w", config.Service, err)
	}
	t.addOutlets(resource) // the last, since it starts goroutines and cannot fail
	t.page = newMetricsHandler(t.gatherer, t.logger)
	t.shutdown = t.shutdownOnce()
	if missing != nil {
		t.logger.WarnContext(ctx, "some resource attributes are missing", "error", missing)
	}
	return t, nil
}

// addInstruments makes the instruments that this package itself feeds.
func (t *Telemetry) addInstruments() (err error) {
	t.instruments = newInstruments(t.meters.Meter(scope), t.catalogue)
	if err := observeProcess(t.instruments); err != nil {
		return err
	}
	if t.losses.spans, err = newLossCounter(t.instruments, SpansDroppedTotal); err != nil {
		return err
	}
	if t.losses.records, err = newLossCounter(t.instruments, LogRecordsDroppedTotal); err != nil {
		return err
	}
	t.http, err = newHTTPMetrics(t.instruments)
	return err
}

// shutdownOnce returns the function that stops everything the first time it is called and gives that call's
// result ever after.
func (t *Telemetry) shutdownOnce() func(context.Context) error {
	var once sync.Once
	var result error
	return func(ctx context.Context) error {
		once.Do(func() {
			err := errors.Join(stopSideBySide(ctx, t.outlets),
				t.tracers.Shutdown(ctx), t.records.Shutdown(ctx), t.meters.Shutdown(ctx))
			if err != nil {
				result = fmt.Errorf("shut down telemetry of %s: %w", t.config.Service, err)
			}
		})
		return result
	}
}

// Service returns the service's name.
func (t *Telemetry) Service() string { return t.config.Service }

// Version returns the service's version.
func (t *Telemetry) Version() string { return t.config.Version }

// Catalogue returns a copy of the list of metrics that the service may have: [Common] and its own.
func (t *Telemetry) Catalogue() Catalogue { return append(Catalogue(nil), t.catalogue...) }

// MeterProvider returns the provider behind [Telemetry.Instruments], for libraries that want one. What they
// record appears in /metrics under names outside the catalogue.
func (t *Telemetry) MeterProvider() metric.MeterProvider { return t.meters }

// TracerProvider returns the service's tracer provider.
func (t *Telemetry) TracerProvider() trace.TracerProvider { return t.spans }

// LoggerProvider returns the provider of log records, for libraries that want one. What they record goes where the
// configuration's log exporters and processors send it, and nowhere without them.
func (t *Telemetry) LoggerProvider() log.LoggerProvider { return t.records }

// Propagator returns the W3C Trace Context and W3C Baggage propagator.
func (t *Telemetry) Propagator() propagation.TextMapPropagator { return t.propagator }

// Logger returns the service's logger. Use its …Context methods, so that lines carry trace_id and span_id.
func (t *Telemetry) Logger() *slog.Logger { return t.logger }

// MetricsHandler serves /metrics: OpenMetrics, with exemplars, to clients whose Accept header asks for it, else
// the Prometheus text format.
func (t *Telemetry) MetricsHandler() http.Handler { return t.page }

// Registry returns a registry for Prometheus collectors of others. What they collect is on the page, without the
// label service.
func (t *Telemetry) Registry() *prometheus.Registry { return t.registry }

// Gatherer returns what /metrics gathers from.
func (t *Telemetry) Gatherer() prometheus.Gatherer { return t.gatherer }

// Instruments gives the instruments of the catalogue by name.
func (t *Telemetry) Instruments() *Instruments { return t.instruments }

// Shutdown flushes and stops exporters, processors and metrics, within ctx. What a collector does not take in that
// time is lost, which is logged and is no error. Further calls return what the first one did.
func (t *Telemetry) Shutdown(ctx context.Context) error { return t.shutdown(ctx) }
