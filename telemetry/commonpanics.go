package telemetry

// HTTPPanicsTotal is the name of the metric that counts handlers that panicked. It is left to whoever recovers them:
// a recovery outside [HTTPMiddleware] has no trace, and one inside decides the status.
const HTTPPanicsTotal = "http_panics_total"

func panicMetrics() Catalogue {
	return Catalogue{{
		Name: HTTPPanicsTotal, Kind: Counter,
		Help: "Requests whose handler panicked; each was answered with 500.",
	}}
}
