// Package servers brings the real servers that the configuration is written
// for (Prometheus, Alertmanager, node exporter, Kafka with its JMX exporter,
// OpenTelemetry's Collector, Jaeger, Zipkin) to tests, without containers: built
// from their Go modules or taken from Maven Central once, into the user's cache
// folder. Only tests use it.
package servers
