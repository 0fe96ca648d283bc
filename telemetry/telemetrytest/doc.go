// Package telemetrytest lets a test ask, in one line, what a service measured, traced and logged.
//
// It exists so that tests assert on what users see (the page, the spans, the log lines) and not on calls to
// instruments.
package telemetrytest
