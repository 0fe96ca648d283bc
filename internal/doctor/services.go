package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// service asks a service whether it lives, is ready, and shows its metrics.
func (d *doctor) service(ctx context.Context, s Service) {
	status, body, err := d.get(ctx, s.URL+"/health/ready")
	switch {
	case err != nil:
		d.wrong(s.Name, fmt.Sprintf("does not answer at %s: %s", s.URL, reason(err)),
			"Start it with `make run`, `make start-all` or `make start`; if it listens elsewhere, say so with --"+s.Name+"-addr.")
		return
	case status != http.StatusOK:
		d.wrong(s.Name, fmt.Sprintf("is not ready: %s", problem(status, body)),
			"The reason names the part that it waits for; its log says more.")
		return
	}
	status, body, err = d.get(ctx, s.URL+"/metrics")
	if err != nil {
		d.wrong(s.Name, "is ready, but its metrics page fails: "+reason(err), "Look into its log; a slow page points to an overloaded host.")
		return
	}
	own := fmt.Sprintf("process_uptime_seconds{service=%q}", s.Name)
	if status != http.StatusOK || !hasMetric(body, own) {
		d.wrong(s.Name, fmt.Sprintf("is ready, but %s/metrics (status %d) has no %s", s.URL, status, own),
			"Something else answers at this address: compare with `curl "+s.URL+"/`, which names the service.")
		return
	}
	d.ok(s.Name, "is ready and shows its metrics at "+s.URL+"/metrics")
}

// problem is what a problem document says, or the status where it is none.
func problem(status int, body string) string {
	var document struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal([]byte(body), &document) == nil && document.Detail != "" {
		return document.Detail
	}
	return fmt.Sprintf("status %d", status)
}
