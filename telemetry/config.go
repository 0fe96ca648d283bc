package telemetry

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"

	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
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
	// Catalogue holds the service's own metrics, added to [Common].
	Catalogue Catalogue
	// LogWriter receives one write per log line. Default os.Stderr. Services of one process that share a
	// writer other than an *os.File must share one [LineWriter] over it.
	LogWriter io.Writer
	// LogFormat is LogText (the default), LogColored or LogJSON. Whether the writer is a terminal that shows colours,
	// and the user wants them, is for the caller to know.
	LogFormat string
	// LogLevel is the lowest level that is written. The zero value is slog.LevelInfo.
	LogLevel slog.Level
	// SpanExporters and LogExporters send spans and log records away, in batches and in the background; package
	// [github.com/vigie-dev/vigie/telemetry/otlp] makes them from the standard variables. At most
	// OTEL_BSP_MAX_QUEUE_SIZE spans and OTEL_BLRP_MAX_QUEUE_SIZE records (2048 each) wait; what comes while they do
	// is dropped, so that no caller ever waits. What is lost is counted in [SpansDroppedTotal] and
	// [LogRecordsDroppedTotal], and logged at most once a minute. [Telemetry.Shutdown] shuts them down.
	SpanExporters []sdktrace.SpanExporter
	LogExporters  []sdklog.Exporter
	// SpanProcessors and LogProcessors receive spans and log records as they come: recorders in tests, mostly. They
	// must not wait. [Telemetry.Shutdown] shuts them down.
	//
	// With neither exporters nor processors for spans, spans carry their context and record nothing: it travels, and
	// logs and exemplars carry trace ids, but nothing leaves the process.
	SpanProcessors []sdktrace.SpanProcessor
	LogProcessors  []sdklog.Processor
}

// withDefaults returns a copy of the configuration with every unset field filled in.
func (c Config) withDefaults() Config {
	if c.Version == "" {
		c.Version = "dev"
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
