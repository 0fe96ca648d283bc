// Package stack runs everything that docker-compose.yml runs, but natively:
// Kafka with its JMX exporter, the services under load, the node exporter,
// Alertmanager with the sink that logs, and Prometheus, all on the shipped
// configuration; and, apart from these, what the profile tracing adds. Tests ask
// it whether what is shipped works. Only tests use it.
package stack
