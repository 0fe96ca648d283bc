package telemetry

// ServiceReady is the name of the metric that says whether a service can do its work. It is left to whoever knows:
// register it with [Instruments.Int64ObservableGauge], from a value that is kept up to date outside the scrape.
const ServiceReady = "service_ready"

func readyMetrics() Catalogue {
	return Catalogue{{
		Name: ServiceReady, Kind: Gauge,
		Help: "1 while the service can do its work, as /health/ready says, else 0.",
	}}
}
