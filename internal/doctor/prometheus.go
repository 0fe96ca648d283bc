package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
)

const partPrometheus = "Prometheus"

// prometheus looks at the targets, the rules, the way to Alertmanager, and
// whether the dashboards' queries find data.
func (d *doctor) prometheus(ctx context.Context) {
	if d.cfg.Prometheus == "" {
		return
	}
	client, err := api.NewClient(api.Config{Address: d.cfg.Prometheus, Client: d.client})
	if err != nil {
		d.wrong(partPrometheus, "cannot be asked: "+err.Error(), "Give a URL with --prometheus.")
		return
	}
	prom := promv1.NewAPI(client)
	targets, err := prom.Targets(ctx)
	if err != nil {
		d.wrong(partPrometheus, fmt.Sprintf("does not answer at %s: %s", d.cfg.Prometheus, reason(err)),
			"Start it with `make monitoring-up`; `docker compose logs prometheus` shows a mistake in its configuration.")
		return
	}
	d.targets(targets.Active)
	d.rules(ctx, prom)
	d.notifications(ctx, prom)
	d.dashboards(ctx, prom)
}

func (d *doctor) targets(targets []promv1.ActiveTarget) {
	up := 0
	for _, t := range targets {
		if t.Health == promv1.HealthGood {
			up++
			continue
		}
		what := string(t.Labels["job"])
		if s := t.Labels["service"]; s != "" {
			what = string(s)
		}
		state := "is " + string(t.Health)
		if t.LastError != "" {
			state += ": " + t.LastError
		}
		d.wrong(partPrometheus, fmt.Sprintf("target %s at %s %s", what, t.ScrapeURL, state),
			"If that part answers here but not for Prometheus, it listens where Prometheus cannot reach it.")
	}
	switch {
	case len(targets) == 0:
		d.wrong(partPrometheus, "has no targets", "See that monitoring/targets is mounted beside its configuration.")
	case up == len(targets):
		d.ok(partPrometheus, fmt.Sprintf("reaches all %d targets", up))
	}
}

// rules looks for rules that cannot be evaluated.
func (d *doctor) rules(ctx context.Context, prom promv1.API) {
	all, err := prom.Rules(ctx, nil)
	if err != nil {
		d.wrong(partPrometheus, "does not tell its rules: "+reason(err), "See its log.")
		return
	}
	rules, broken := 0, 0
	for _, group := range all.Groups {
		for _, rule := range group.Rules {
			rules++
			if name, failure := ruleFailure(rule); failure != "" {
				broken++
				d.wrong(partPrometheus, fmt.Sprintf("rule %s in %s fails: %s", name, group.Name, failure), "Mend it in monitoring/rules.")
			}
		}
	}
	switch {
	case rules == 0:
		d.wrong(partPrometheus, "has no rules", "See that monitoring/rules is mounted beside its configuration.")
	case broken == 0:
		d.ok(partPrometheus, fmt.Sprintf("evaluates all %d rules", rules))
	}
}

func ruleFailure(rule any) (name, failure string) {
	switch r := rule.(type) {
	case promv1.AlertingRule:
		return r.Name, r.LastError
	case promv1.RecordingRule:
		return r.Name, r.LastError
	default:
		return "", ""
	}
}

func (d *doctor) notifications(ctx context.Context, prom promv1.API) {
	managers, err := prom.AlertManagers(ctx)
	switch {
	case err != nil:
		d.wrong(partPrometheus, "does not tell its Alertmanagers: "+reason(err), "See its log.")
	case len(managers.Active) == 0:
		d.wrong(partPrometheus, "sends its alerts nowhere", "Start Alertmanager, and see the section alerting of monitoring/prometheus.yml.")
	default:
		d.ok(partPrometheus, "sends its alerts to "+strings.TrimSuffix(managers.Active[0].URL, "/api/v2/alerts"))
	}
}
