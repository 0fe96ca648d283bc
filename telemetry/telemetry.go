package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
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
	registry    *prometheus.Registry
	meters      *sdkmetric.MeterProvider
	tracers     *sdktrace.TracerProvider
	spans       trace.TracerProvider // tracers, or idleProvider where spans go nowhere
	propagator  propagation.TextMapPropagator
	instruments *Instruments
	http        *httpMetrics
	page        http.Handler
	shutdown    func(context.Context) error
}

// Setup builds a service's telemetry. It starts no goroutine, opens no port and touches no global. The standard
// OTEL_* variables that the SDK reads (sampler, limits, resource attributes) apply; service.name and
// service.version come from the configuration. It fails if the configuration or the catalogue is invalid.
func Setup(ctx context.Context, config Config) (*Telemetry, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("set up telemetry: %w", err)
	}
	catalogue := append(Common(), config.Catalogue...)
	if err := catalogue.Validate(); err != nil {
		return nil, fmt.Errorf("set up telemetry of %s: %w", config.Service, err)
	}
	t := &Telemetry{config: config, catalogue: catalogue, logger: newLogger(config), propagator: newPropagator()}
	resource, err := newResource(ctx, config)
	if err != nil {
		t.logger.WarnContext(ctx, "some resource attributes are missing", "error", err)
	}
	t.tracers = newTracerProvider(resource, config.SpanProcessors)
	t.spans = spanSource(t.tracers, config.SpanProcessors)
	t.registry, t.meters, err = newMeterProvider(config.Service, resource)
	if err == nil {
		err = t.addInstruments()
	}
	if err != nil {
		return nil, fmt.Errorf("set up telemetry of %s: %w", config.Service, err)
	}
	t.page = newMetricsHandler(t.registry, t.logger)
	t.shutdown = t.shutdownOnce()
	return t, nil
}

// addInstruments makes the instruments that this package itself feeds.
func (t *Telemetry) addInstruments() error {
	t.instruments = newInstruments(t.meters.Meter(scope), t.catalogue)
	if err := observeProcess(t.instruments); err != nil {
		return err
	}
	var err error
	t.http, err = newHTTPMetrics(t.instruments)
	return err
}

// shutdownOnce returns the function that stops both providers the first time it is called and gives that call's
// result ever after.
func (t *Telemetry) shutdownOnce() func(context.Context) error {
	var once sync.Once
	var result error
	return func(ctx context.Context) error {
		once.Do(func() {
			if err := errors.Join(t.tracers.Shutdown(ctx), t.meters.Shutdown(ctx)); err != nil {
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

// Propagator returns the W3C Trace Context and W3C Baggage propagator.
func (t *Telemetry) Propagator() propagation.TextMapPropagator { return t.propagator }

// Logger returns the service's logger. Use its …Context methods, so that lines carry trace_id and span_id.
func (t *Telemetry) Logger() *slog.Logger { return t.logger }

// MetricsHandler serves /metrics: OpenMetrics, with exemplars, to clients whose Accept header asks for it, else
// the Prometheus text format.
func (t *Telemetry) MetricsHandler() http.Handler { return t.page }

// Registry returns the service's own Prometheus registry. Collectors registered there do not get the label
// service.
func (t *Telemetry) Registry() *prometheus.Registry { return t.registry }

// Gatherer returns what /metrics gathers from.
func (t *Telemetry) Gatherer() prometheus.Gatherer { return t.registry }

// Instruments gives the instruments of the catalogue by name.
func (t *Telemetry) Instruments() *Instruments { return t.instruments }

// Shutdown flushes and stops the span processors and the metrics, within ctx. Further calls return what the
// first one did.
func (t *Telemetry) Shutdown(ctx context.Context) error { return t.shutdown(ctx) }
