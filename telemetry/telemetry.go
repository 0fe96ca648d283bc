// Package telemetry gives a service its metrics, traces and logs in one call, under names that dashboards and
// alerts can rely on.
//
// It exists because telemetry that is set up by hand in each service drifts: a bucket differs, a label is
// missing, a counter only appears after its first event. Here every metric is declared once, as data, in a
// [Catalogue]; [Setup] builds the instruments, the /metrics page and the reference table from it.
//
// Metrics are scraped from /metrics. Spans and log records stay in the process unless [Config] names exporters for
// them; package otlp makes these from the standard variables. Exporting never delays the code that records: what a slow
// collector has no time for is dropped, counted and logged.
//
// The package keeps no state of its own and neither sets nor reads OpenTelemetry's global providers, so two
// services in one process have two registries, two tracer providers and two loggers.
//
// telemetry.go has the set-up and the shutdown.
// page.go is /metrics, process.go the process's memory and uptime (with process_linux.go and process_other.go). http.go is package
// otelhttpserver's middleware with what Setup made. traces.go makes spans and samples them, keep.go records those that are kept in the process, logs.go makes
// log lines and textlog.go those for people, lines.go writes them, and outlet.go sends spans and lines away.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

// Formats of the log, for [Config.LogFormat].
const (
	LogText    = "text"    // one line per record, for people
	LogColored = "colored" // the same in ANSI colours, for a terminal
	LogJSON    = "json"    // one object per line, for machines
)

// Config describes one service to [Setup]. Only Service is required.
type Config struct {
	// Service is the bare service name: the label service of every metric, the resource attribute
	// service.name of every span and the name on every log line. Letters, digits, '.', '_' and '-', 63 at most.
	Service string
	// Version becomes the resource attribute service.version. Default "dev".
	Version string
	// Catalogue holds the service's own metrics, added to [catalogue.Common].
	Catalogue Catalogue
	// MaxScrapes bounds the scrapes of [Telemetry.MetricsHandler] at once; more are answered 503. Default 8; below 0
	// there is no bound, for a handler that stands behind one.
	MaxScrapes int
	// Registry is the application's own, where it has one: prometheus.DefaultRegisterer.(*prometheus.Registry), say. What is
	// registered there is on the page too, without the label service, and nothing has to be merged by hand. A name cannot be
	// both's: [Setup] fails if the registry has one of the library's metrics, and the registry refuses one that comes later.
	// The Go runtime's and the process's metrics stay the application's where it has registered them. Default an empty one.
	Registry *prometheus.Registry
	// OmitServiceLabel leaves the label service to who scrapes: a ServiceMonitor of Prometheus Operator adds one, and would
	// have that of the page be exported_service.
	OmitServiceLabel bool
	// NativeHistograms has the page show each histogram as a native one of Prometheus too, beside its bounds, so that a quantile
	// is known to 5 %, wherever it lies. A scraper sees them if it asks for protobuf, as Prometheus does with
	// scrape_native_histograms; let it have always_scrape_classic_histograms too while a dashboard or a rule rests on bounds. The
	// text format and OpenMetrics have no native histograms. It costs a second count for each measurement.
	NativeHistograms bool
	// LogWriter receives one write per log line, or several whole lines at a time where it is a [LineWriter] that batches.
	// Default os.Stderr. Services of one process that share a writer other than an *os.File must share one [LineWriter]
	// over it.
	LogWriter io.Writer
	// LogFormat is LogText (the default), LogColored or LogJSON. Whether the writer is a terminal that shows colours,
	// and the user wants them, is for the caller to know.
	LogFormat string
	// LogLevel is the lowest level that is written. The zero value is slog.LevelInfo.
	LogLevel slog.Level
	// SpanExporters and LogExporters send spans and log records away, in batches and in the background; package
	// [github.com/vigie-dev/vigie/telemetry/otlp] makes them from the standard variables. At most
	// OTEL_BSP_MAX_QUEUE_SIZE spans and OTEL_BLRP_MAX_QUEUE_SIZE records (2048 each) wait; what comes while they do
	// is dropped, so that no caller ever waits. What is lost is counted in [catalogue.SpansDroppedTotal] and
	// [catalogue.LogRecordsDroppedTotal], and logged at most once a minute. [Telemetry.Shutdown] shuts them down.
	SpanExporters []sdktrace.SpanExporter
	LogExporters  []sdklog.Exporter
	// SpanProcessors and LogProcessors receive spans and log records as they come: recorders in tests, mostly. They
	// must not wait. [Telemetry.Shutdown] shuts them down.
	//
	// With neither exporters nor processors for spans, spans carry their context and record nothing: it travels, and
	// logs and exemplars carry trace ids, but nothing leaves the process. A trace that begins here then says that it is not
	// sampled, unless SampleUnrecorded is set: services behind would record the rest of a trace whose start nobody has.
	SpanProcessors []sdktrace.SpanProcessor
	LogProcessors  []sdklog.Processor
	// SampleUnrecorded has traces that begin where nothing records them say that they are sampled.
	SampleUnrecorded bool
	// Keeper keeps some traces in the process; nil is none. It changes neither what is exported nor which traces are
	// sampled, as their headers say; where nothing is exported, they say so as with SampleUnrecorded, and spans that it
	// does not keep record nothing.
	Keeper Keeper
}

// scope is the name of this package's tracer and logger.
const scope = catalogue.Scope

// What declares and makes metrics stands in package catalogue, which needs no SDK; these are its types.
type (
	// Kind is [catalogue.Kind].
	Kind = catalogue.Kind
	// Metric is [catalogue.Metric].
	Metric = catalogue.Metric
	// Catalogue is [catalogue.Catalogue].
	Catalogue = catalogue.Catalogue
	// Instruments is [catalogue.Instruments].
	Instruments = catalogue.Instruments
	// Observation is [catalogue.Observation].
	Observation = catalogue.Observation
)

// The kinds of metric.
const (
	Counter   = catalogue.Counter
	Gauge     = catalogue.Gauge
	Histogram = catalogue.Histogram
)

// Telemetry is one service's metrics, traces and logs. All methods are safe for concurrent use.
type Telemetry struct {
	config      Config
	catalogue   Catalogue
	logger      *slog.Logger
	registry    *prometheus.Registry // for others' collectors
	gatherer    prometheus.Gatherer
	meters      *sdkmetric.MeterProvider
	tracers     *sdktrace.TracerProvider
	spans       trace.TracerProvider // tracers; idleProvider where spans go nowhere, keptProvider where some are kept
	records     *sdklog.LoggerProvider
	outlets     []stopper // what sends spans and log records away
	losses      struct{ spans, records lossCounter }
	propagator  propagation.TextMapPropagator
	instruments *Instruments
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
	declared := slices.Concat(catalogue.Common(), catalogue.Optional(), config.Catalogue)
	if err := declared.Validate(); err != nil {
		return nil, fmt.Errorf("set up telemetry of %s: %w", config.Service, err)
	}
	t := &Telemetry{
		config: config, catalogue: declared,
		propagator: propagation.NewCompositeTextMapPropagator(traceContext{}, silentBaggage{}),
	}
	resource, missing := newResource(ctx, config)
	err := t.addMetrics(resource)
	if err == nil {
		err = t.addInstruments()
	}
	if err != nil {
		return nil, fmt.Errorf("set up telemetry of %s: %w", config.Service, err)
	}
	wrong := t.addSpansAndLogs(resource) // the last, since it starts goroutines and cannot fail
	t.shutdown = t.shutdownOnce()
	if missing != nil {
		t.logger.WarnContext(ctx, "some resource attributes are missing", "error", missing)
	}
	if wrong != nil {
		t.logger.WarnContext(ctx, "a sampler's setting is ignored", "error", wrong)
	}
	return t, nil
}

// withDefaults returns a copy of the configuration with every unset field filled in.
func (c Config) withDefaults() Config {
	if c.Version == "" {
		c.Version = "dev"
	}
	if c.MaxScrapes == 0 {
		c.MaxScrapes = defaultScrapes
	}
	if c.LogWriter == nil {
		c.LogWriter = os.Stderr
	}
	if c.LogFormat == "" {
		c.LogFormat = LogText
	}
	return c
}

// validate reports everything that is wrong with the configuration, not only the first thing.
func (c Config) validate() error {
	var errs []error
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`).MatchString(c.Service) {
		errs = append(errs, fmt.Errorf("service name %q: want 1 to 63 letters, digits, '.', '_' or '-'", c.Service))
	}
	switch c.LogFormat {
	case LogText, LogColored, LogJSON:
	default:
		errs = append(errs, fmt.Errorf("log format %q: want text, colored or json", c.LogFormat))
	}
	errs = append(errs, noNil("span processor", c.SpanProcessors), noNil("log processor", c.LogProcessors),
		noNil("span exporter", c.SpanExporters), noNil("log exporter", c.LogExporters))
	return errors.Join(errs...)
}

func noNil[T any](what string, all []T) error {
	for i, v := range all {
		if any(v) == nil {
			return fmt.Errorf("%s %d is nil", what, i)
		}
	}
	return nil
}

// newResource describes the service. OTEL_RESOURCE_ATTRIBUTES adds to it; the configuration has the last word
// on the service's name, since several services can share one process and its environment. The resource is
// usable even with an error.
func newResource(ctx context.Context, config Config) (*resource.Resource, error) {
	return resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(),
		resource.WithSchemaURL(semconv.SchemaURL),
		resource.WithAttributes(semconv.ServiceName(config.Service), semconv.ServiceVersion(config.Version)),
	)
}

// addInstruments makes the instruments that this package itself feeds.
func (t *Telemetry) addInstruments() (err error) {
	t.instruments = catalogue.NewInstruments(t.meters, t.catalogue)
	if err := observeProcess(t.instruments); err != nil {
		return err
	}
	if t.losses.spans, err = newLossCounter(t.instruments, catalogue.SpansDroppedTotal); err != nil {
		return err
	}
	if t.losses.records, err = newLossCounter(t.instruments, catalogue.LogRecordsDroppedTotal); err != nil {
		return err
	}
	return nil
}

// addSpansAndLogs makes the tracer provider and the logger, and what takes spans and log records from them. Its error is
// about a sampler's setting, and is for the log.
func (t *Telemetry) addSpansAndLogs(resource *resource.Resource) (wrong error) {
	local := newLocalHandler(t.config)
	spans, records := t.addOutlets(slog.New(local))
	spans, records = slices.Concat(t.config.SpanProcessors, spans), slices.Concat(t.config.LogProcessors, records)
	t.tracers, t.spans, wrong = newTracerProviders(resource, spans, t.config)
	t.records, t.logger = newLogger(local, t.config.LogLevel, resource, records)
	return wrong
}

// stopper is what has to be stopped in its time.
type stopper interface{ Shutdown(context.Context) error }

// lastFlush bounds a shutdown whose context has ended before it began.
const lastFlush = 5 * time.Second

// shutdownOnce returns the function that stops everything the first time it is called and gives that call's
// result ever after.
func (t *Telemetry) shutdownOnce() func(context.Context) error {
	var once sync.Once
	var result error
	return func(ctx context.Context) error {
		once.Do(func() {
			if ctx.Err() != nil {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
				defer cancel()
			}
			err := errors.Join(stopSideBySide(ctx, t.outlets),
				t.tracers.Shutdown(ctx), t.records.Shutdown(ctx), t.meters.Shutdown(ctx))
			if err != nil {
				result = fmt.Errorf("shut down telemetry of %s: %w", t.config.Service, err)
			}
		})
		return result
	}
}

// stopSideBySide lets no outlet wait for another one's collector.
func stopSideBySide(ctx context.Context, all []stopper) error {
	errs := make([]error, len(all))
	var group sync.WaitGroup
	for i, s := range all {
		group.Go(func() { errs[i] = s.Shutdown(ctx) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// Service returns the service's name.
func (t *Telemetry) Service() string { return t.config.Service }

// Version returns the service's version.
func (t *Telemetry) Version() string { return t.config.Version }

// Catalogue returns a copy of the list of metrics that the service may have: [catalogue.Common] and its own.
func (t *Telemetry) Catalogue() Catalogue { return append(Catalogue(nil), t.catalogue...) }

// MeterProvider returns the provider behind [Telemetry.Instruments], for libraries that want one. What they
// record appears in /metrics under names outside the catalogue, without labels whose values are not UTF-8.
func (t *Telemetry) MeterProvider() metric.MeterProvider { return t.meters }

// TracerProvider returns the service's tracer provider.
func (t *Telemetry) TracerProvider() trace.TracerProvider { return t.spans }

// LoggerProvider returns the provider of log records, for libraries that want one. What they record goes where the
// configuration's log exporters and processors send it, and nowhere without them.
func (t *Telemetry) LoggerProvider() log.LoggerProvider { return t.records }

// Propagator returns the W3C Trace Context and W3C Baggage propagator. Of a carrier that has all values of a name
// ([propagation.ValuesGetter]) it joins those of tracestate and of baggage; several traceparents count as none.
func (t *Telemetry) Propagator() propagation.TextMapPropagator { return t.propagator }

// Logger returns the service's logger. Use its …Context methods, so that lines carry trace_id and span_id.
func (t *Telemetry) Logger() *slog.Logger { return t.logger }

// MetricsHandler serves /metrics: OpenMetrics, with exemplars, to clients whose Accept header asks for it, else
// the Prometheus text format.
func (t *Telemetry) MetricsHandler() http.Handler { return t.page }

// Registry returns the registry for Prometheus collectors of others, [Config.Registry] where there is one. What they collect is on the page, without the
// label service; but for a family that has the name of a counter without its _total, which OpenMetrics cannot tell apart.
// It refuses a collector that has a name of the library's own metrics, or of the Go runtime's and the process's, which the
// page has already.
func (t *Telemetry) Registry() *prometheus.Registry { return t.registry }

// Gatherer returns what /metrics gathers from.
func (t *Telemetry) Gatherer() prometheus.Gatherer { return t.gatherer }

// Instruments gives the instruments of the catalogue by name.
func (t *Telemetry) Instruments() *Instruments { return t.instruments }

// Shutdown flushes and stops exporters, processors and metrics, within ctx; where that has ended already, as the context
// of a service that a signal stops has, within five seconds. What a collector does not take in that time is lost, which is logged and is no error. Further calls return what the first one did.
func (t *Telemetry) Shutdown(ctx context.Context) error { return t.shutdown(ctx) }
