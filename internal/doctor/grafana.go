package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

const partGrafana = "Grafana"

// dashboardTitles are the dashboards that come with the system.
func dashboardTitles() []string {
	return []string{"Kafka Banking System Overview", "Microservices Health Dashboard", "Kafka Broker & JVM", "Host"}
}

// grafana looks whether it is healthy, lets us in and has the dashboards.
func (d *doctor) grafana(ctx context.Context) {
	if d.cfg.Grafana == "" {
		return
	}
	status, _, err := d.get(ctx, d.cfg.Grafana+"/api/health")
	switch {
	case err != nil:
		d.wrong(partGrafana, fmt.Sprintf("does not answer at %s: %s", d.cfg.Grafana, reason(err)),
			"Start it with `make monitoring-up`; `docker compose logs grafana` says why it ended.")
		return
	case status != http.StatusOK:
		d.wrong(partGrafana, fmt.Sprintf("is not healthy: status %d", status), "See `docker compose logs grafana`.")
		return
	}
	status, body, err := d.get(ctx, d.cfg.Grafana+"/api/search?type=dash-db")
	if err != nil {
		d.wrong(partGrafana, "does not tell its dashboards: "+reason(err), "See `docker compose logs grafana`.")
		return
	}
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		d.wrong(partGrafana, "does not let us look at its dashboards", "Give its user and password in GRAFANA_USER and GRAFANA_PASSWORD.")
		return
	}
	d.provisioned(status, body)
}

func (d *doctor) provisioned(status int, body string) {
	var found []struct {
		Title string `json:"title"`
	}
	if err := json.Unmarshal([]byte(body), &found); err != nil || status != http.StatusOK {
		d.wrong(partGrafana, fmt.Sprintf("answers the search for dashboards with status %d and something else than a list", status),
			"See that nothing else listens at this address.")
		return
	}
	var missing []string
	for _, title := range dashboardTitles() {
		if !slices.ContainsFunc(found, func(f struct {
			Title string `json:"title"`
		}) bool {
			return f.Title == title
		}) {
			missing = append(missing, title)
		}
	}
	if len(missing) > 0 {
		d.wrong(partGrafana, "lacks "+strings.Join(missing, ", "),
			"See that monitoring/grafana is mounted; its log names a dashboard that it cannot read.")
		return
	}
	d.ok(partGrafana, fmt.Sprintf("is healthy and has all %d dashboards", len(dashboardTitles())))
}
