// Package otlp makes the exporters that the standard OTEL_* variables ask for, to be given to
// [github.com/vigie-dev/vigie/telemetry.Config].
//
// It is a package of its own because the exporters bring gRPC and protocol buffers with them: who imports
// telemetry alone compiles neither.
//
// Traces and logs are switched on by OTEL_TRACES_EXPORTER and OTEL_LOGS_EXPORTER: otlp, console (on standard
// output) or none. Unset is none, which is not the specification's default: nothing leaves a process that was not
// told so. With otlp the usual variables say where and how: OTEL_EXPORTER_OTLP_ENDPOINT, _PROTOCOL
// (http/protobuf, or grpc), _HEADERS, _TIMEOUT, _COMPRESSION, _CERTIFICATE, _INSECURE, each also for one signal
// alone (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT). Without an endpoint it is http://localhost:4318, or :4317 for gRPC,
// as the specification has it. OTEL_SDK_DISABLED=true switches everything off.
//
// Metrics are scraped; OTEL_METRICS_EXPORTER has no effect.
package otlp
