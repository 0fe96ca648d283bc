// Package telemetry gives a service its metrics, traces and logs in one call, under names that dashboards and
// alerts can rely on.
//
// It exists because telemetry that is set up by hand in each service drifts: a bucket differs, a label is
// missing, a counter only appears after its first event. Here every metric is declared once, as data, in a
// [Catalogue]; [Setup] builds the instruments, the /metrics page and the reference table from it.
//
// Metrics are scraped from /metrics. Spans and log records stay in the process unless [Config] names exporters for
// them; package otlp makes these from the standard variables. Exporting never holds up who records: what a slow
// collector has no time for is dropped, counted and told.
//
// The package keeps no state of its own and neither sets nor reads OpenTelemetry's global providers, so two
// services in one process have two registries, two tracer providers and two loggers.
package telemetry
