package telemetry

import (
	"net/http"
	"time"
)

// RecordHTTP does what the middleware does with an answered request.
func RecordHTTP(t *Telemetry, r *http.Request, route string, status int, took time.Duration) {
	t.http.record(r.Context(), r.Method, route, status, took)
	t.http.convention.record(r, route, status, false, took)
}
