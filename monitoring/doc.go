// Package monitoring is data (Prometheus's and Alertmanager's configuration,
// rules, runbooks, dashboards) and the tests that hold it against the metrics
// that the services and exporters have, and against the real servers. It is a
// module of its own so that those who import the telemetry library need none of
// the servers' dependencies.
package monitoring
