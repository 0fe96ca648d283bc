// Package otlp makes the exporters that the standard OTEL_* variables ask for, to be given to
// [github.com/vigie-dev/vigie/telemetry.Config].
//
// It is a package of its own because the exporters bring gRPC and protocol buffers with them: who imports
// telemetry alone compiles neither.
//
// Traces and logs are switched on by OTEL_TRACES_EXPORTER and OTEL_LOGS_EXPORTER: otlp, console (on standard
// output) or none. Unset is none, which is not the specification's default: nothing leaves a process that was not
// set up so. With otlp the usual variables say where and how: OTEL_EXPORTER_OTLP_ENDPOINT, _PROTOCOL
// (http/protobuf, or grpc), _HEADERS, _TIMEOUT, _COMPRESSION, _CERTIFICATE, _INSECURE, each also for one signal
// alone (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT). Without an endpoint it is http://localhost:4318, or :4317 for gRPC,
// as the specification has it. OTEL_SDK_DISABLED=true switches everything off.
//
// Metrics are scraped; OTEL_METRICS_EXPORTER has no effect.
//
// otlp.go makes the exporters; signal.go reads and checks what the variables say of one signal.
package otlp

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Exporters are one service's exporters; both lists are empty where nothing was asked for. Give them to
// telemetry.Config, which owns them from then on.
type Exporters struct {
	Spans []sdktrace.SpanExporter
	Logs  []sdklog.Exporter
}

// FromEnvironment makes the exporters that the environment asks for. It connects to nothing yet: whether a
// collector is there shows when something is sent. A setting that cannot be meant is an error that names the
// variable; values of headers are not shown.
func FromEnvironment(ctx context.Context) (Exporters, error) {
	var e Exporters
	span, err := makeExporter(ctx, traces(), newSpanExporter)
	if err != nil {
		return Exporters{}, err
	}
	if span != nil {
		e.Spans = append(e.Spans, span)
	}
	log, err := makeExporter(ctx, logs(), newLogExporter)
	if err != nil {
		return Exporters{}, errors.Join(err, e.Shutdown(ctx))
	}
	if log != nil {
		e.Logs = append(e.Logs, log)
	}
	return e, nil
}

// Shutdown closes exporters that were given to nobody.
func (e Exporters) Shutdown(ctx context.Context) error {
	var errs []error
	for _, x := range e.Spans {
		errs = append(errs, x.Shutdown(ctx))
	}
	for _, x := range e.Logs {
		errs = append(errs, x.Shutdown(ctx))
	}
	return errors.Join(errs...)
}

// Destinations says for people where the environment sends traces and logs: an OTLP endpoint with its protocol, or
// the standard output. "" is nowhere.
func Destinations() (tracesTo, logsTo string) {
	return traces().destination(), logs().destination()
}

// makeExporter returns the zero value where the signal is not to be exported.
func makeExporter[T any](ctx context.Context, s signal, create func(context.Context, signal) (T, error)) (none T, err error) {
	if s.exporter() == exporterNone {
		return none, nil
	}
	if err := s.validate(); err != nil {
		return none, err
	}
	exporter, err := create(ctx, s)
	if err != nil {
		return none, fmt.Errorf("make the exporter of %s: %w", s.name, err)
	}
	return exporter, nil
}

// The exporters take https where no endpoint is given. The specification says http, and so does the collector that
// somebody starts beside the service.

func newSpanExporter(ctx context.Context, s signal) (sdktrace.SpanExporter, error) {
	switch {
	case !s.usesDefaultEndpoint():
		return autoexport.NewSpanExporter(ctx)
	case s.protocol() == protocolGRPC:
		return otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(s.endpoint()))
	default:
		return otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(s.endpoint()))
	}
}

func newLogExporter(ctx context.Context, s signal) (sdklog.Exporter, error) {
	switch {
	case !s.usesDefaultEndpoint():
		return autoexport.NewLogExporter(ctx)
	case s.protocol() == protocolGRPC:
		return otlploggrpc.New(ctx, otlploggrpc.WithEndpointURL(s.endpoint()))
	default:
		return otlploghttp.New(ctx, otlploghttp.WithEndpointURL(s.endpoint()))
	}
}
