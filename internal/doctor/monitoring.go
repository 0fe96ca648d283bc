package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// exporter is a page that is not a service's.
type exporter struct {
	name, url string
	// metrics that the page must have, each with what its absence means.
	metrics []expected
	start   string // how to start it
}

type expected struct{ prefix, absence, remedy string }

// monitoringChecks are those of the monitoring stack.
func (d *doctor) monitoringChecks() []func(context.Context, *exam) {
	return []func(context.Context, *exam){
		func(ctx context.Context, e *exam) { d.checkExporter(ctx, e, kafkaExporter(d.cfg.JMX)) },
		func(ctx context.Context, e *exam) { d.checkExporter(ctx, e, nodeExporter(d.cfg.Node)) },
		d.checkPrometheus, d.checkAlertmanager, d.checkGrafana,
	}
}

func kafkaExporter(url string) exporter {
	return exporter{
		name: partJMX, url: url, start: "Start it with `make monitoring-up`; `docker compose logs kafka-jmx-exporter` says why it ended.",
		metrics: []expected{
			{"jmx_scrape_error 0", "answers, and Kafka does not answer it", "It does not reach the broker's JMX port: see that Kafka runs with JMX on 1099, then restart the exporter."},
			{"kafka_server_", "reaches Kafka and shows none of its figures", "Its rules match nothing: compare monitoring/jmx/kafka.yml with the broker's version."},
		},
	}
}

func nodeExporter(url string) exporter {
	return exporter{
		name: partNode, url: url, start: "Start it with `make monitoring-up`; `docker compose logs node-exporter` says why it ended.",
		metrics: []expected{{"node_cpu_seconds_total", "has no node_cpu_seconds_total", "Something else answers at this address."}},
	}
}

func (d *doctor) checkExporter(ctx context.Context, e *exam, x exporter) {
	if x.url == "" {
		return
	}
	status, page, err := d.get(ctx, x.url)
	switch {
	case err != nil:
		e.away(familyMonitoring, x.name, x.url, d.reason(err), x.start)
		return
	case status != http.StatusOK:
		e.wrong(x.name, fmt.Sprintf("answers %s with status %d", x.url, status), x.start)
		return
	}
	for _, m := range x.metrics {
		if !hasMetric(page, m.prefix) {
			e.wrong(x.name, m.absence, m.remedy).from(partKafka)
			return
		}
	}
	e.ok(x.name, "shows its metrics at "+x.url)
}

// Parts of the monitoring, as findings name them.
const (
	partJMX          = "JMX exporter"
	partNode         = "node exporter"
	partPrometheus   = "Prometheus"
	partAlertmanager = "Alertmanager"
	partGrafana      = "Grafana"
)

// checkPrometheus looks at the targets, the rules, the way to Alertmanager, and
// whether the dashboards' queries find data.
func (d *doctor) checkPrometheus(ctx context.Context, e *exam) {
	if d.cfg.Prometheus == "" {
		return
	}
	client, err := api.NewClient(api.Config{Address: d.cfg.Prometheus, Client: d.client})
	if err != nil {
		e.wrong(partPrometheus, "cannot be queried: "+d.reason(err), "Give a URL with --prometheus-url.")
		return
	}
	prom := promv1.NewAPI(client)
	targets, err := prom.Targets(ctx)
	if err != nil {
		e.away(familyMonitoring, partPrometheus, d.cfg.Prometheus, d.reason(err),
			"Start it with `make monitoring-up`; `docker compose logs prometheus` shows a mistake in its configuration.")
		return
	}
	d.checkTargets(e, targets.Active)
	d.checkRules(ctx, e, prom)
	d.checkNotifications(ctx, e, prom)
	d.checkDashboards(ctx, e, prom)
}

// partOf is the part that a target is, as findings name it.
func partOf(target string) string {
	exporters := map[string]string{"kafka": partJMX, "node": partNode, "alertmanager": partAlertmanager}
	return cmp.Or(exporters[target], target)
}

// checkTargets reports what Prometheus does not reach. A target whose part does
// not answer us either is away by itself; several that only Prometheus does not
// reach are one finding.
func (d *doctor) checkTargets(e *exam, targets []promv1.ActiveTarget) {
	up, unasked := 0, 0
	for _, t := range targets {
		switch t.Health {
		case promv1.HealthGood:
			up++
			continue
		case promv1.HealthUnknown:
			unasked++
			continue
		case promv1.HealthBad:
		}
		what := cmp.Or(string(t.Labels["service"]), string(t.Labels["job"]))
		state := "is " + string(t.Health)
		if t.LastError != "" {
			state += ": " + d.reason(errors.New(t.LastError)) //nolint:err113 // somebody else's text, to be put in words
		}
		e.wrong(partPrometheus, fmt.Sprintf("target %s at %s %s", what, t.ScrapeURL, state),
			"If that part answers here but not for Prometheus, it listens where Prometheus cannot reach it.").from(partOf(what)).like("unreached")
	}
	switch {
	case unasked > 0:
		e.wrong(partPrometheus, fmt.Sprintf("has not asked %d of %d targets yet", unasked, len(targets)), "It has just started: look again in a few seconds.")
	case len(targets) == 0:
		e.wrong(partPrometheus, "has no targets", "See that monitoring/targets is mounted beside its configuration.")
	case up == len(targets):
		e.ok(partPrometheus, fmt.Sprintf("reaches all %d targets", up))
	}
}

// checkRules looks for rules that cannot be evaluated.
func (d *doctor) checkRules(ctx context.Context, e *exam, prom promv1.API) {
	all, err := prom.Rules(ctx, nil)
	if err != nil {
		e.wrong(partPrometheus, "does not list its rules: "+d.reason(err), "See its log.")
		return
	}
	rules, broken := 0, 0
	for _, group := range all.Groups {
		for _, rule := range group.Rules {
			rules++
			if name, failure := ruleFailure(rule); failure != "" {
				broken++
				e.wrong(partPrometheus, fmt.Sprintf("rule %s in %s fails: %s", name, group.Name, failure), "Fix it in monitoring/rules.").like("rules fail")
			}
		}
	}
	switch {
	case rules == 0:
		e.wrong(partPrometheus, "has no rules", "See that monitoring/rules is mounted beside its configuration.")
	case broken == 0:
		e.ok(partPrometheus, fmt.Sprintf("evaluates all %d rules", rules))
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

func (d *doctor) checkNotifications(ctx context.Context, e *exam, prom promv1.API) {
	managers, err := prom.AlertManagers(ctx)
	switch {
	case err != nil:
		e.wrong(partPrometheus, "does not list its Alertmanagers: "+d.reason(err), "See its log.")
	case len(managers.Active) == 0 && d.cfg.Alertmanager == "": // none is meant to run
	case len(managers.Active) == 0:
		e.wrong(partPrometheus, "sends its alerts nowhere", "Start Alertmanager, and see the section alerting of monitoring/prometheus.yml.").from(partAlertmanager)
	default:
		e.ok(partPrometheus, "sends its alerts to "+strings.TrimSuffix(managers.Active[0].URL, "/api/v2/alerts"))
	}
}

func (d *doctor) checkAlertmanager(ctx context.Context, e *exam) {
	if d.cfg.Alertmanager == "" {
		return
	}
	const remedy = "Start it with `make monitoring-up`; `docker compose logs alertmanager` shows a mistake in its configuration."
	switch status, _, err := d.get(ctx, d.cfg.Alertmanager+"/-/ready"); {
	case err != nil:
		e.away(familyMonitoring, partAlertmanager, d.cfg.Alertmanager, d.reason(err), remedy)
	case status != http.StatusOK:
		e.wrong(partAlertmanager, fmt.Sprintf("is not ready: status %d", status), remedy)
	default:
		e.ok(partAlertmanager, "is ready at "+d.cfg.Alertmanager)
	}
}

// dashboardTitles are the dashboards that come with the system.
func dashboardTitles() []string {
	return []string{
		"Kafka Banking System Overview", "Microservices Health Dashboard", "Service Level Objectives",
		"Kafka Consumer Groups", "Kafka Broker & JVM", "Host",
	}
}

// checkGrafana looks whether it is healthy, accepts our password and has the dashboards.
func (d *doctor) checkGrafana(ctx context.Context, e *exam) {
	if d.cfg.Grafana == "" {
		return
	}
	status, _, err := d.get(ctx, d.cfg.Grafana+"/api/health")
	switch {
	case err != nil:
		e.away(familyMonitoring, partGrafana, d.cfg.Grafana, d.reason(err),
			"Start it with `make monitoring-up`; `docker compose logs grafana` says why it ended.")
		return
	case status != http.StatusOK:
		e.wrong(partGrafana, fmt.Sprintf("is not healthy: status %d", status), "See `docker compose logs grafana`.")
		return
	}
	status, body, err := d.get(ctx, d.cfg.Grafana+"/api/search?type=dash-db")
	if err != nil {
		e.wrong(partGrafana, "does not list its dashboards: "+d.reason(err), "See `docker compose logs grafana`.")
		return
	}
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		e.wrong(partGrafana, "refuses to list its dashboards", "Give its user and password in GRAFANA_USER and GRAFANA_PASSWORD.")
		return
	}
	checkProvisioning(e, status, body)
}

func checkProvisioning(e *exam, status int, body string) {
	var found []struct {
		Title string `json:"title"`
	}
	if err := json.Unmarshal([]byte(body), &found); err != nil || status != http.StatusOK {
		e.wrong(partGrafana, fmt.Sprintf("answers the search for dashboards with status %d and something else than a list", status),
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
		e.wrong(partGrafana, "lacks "+strings.Join(missing, ", "),
			"See that monitoring/grafana is mounted; its log names a dashboard that it cannot read.")
		return
	}
	e.ok(partGrafana, fmt.Sprintf("is healthy and has all %d dashboards", len(dashboardTitles())))
}

const partDashboards = "dashboards"

// dashboard is as much of Grafana's format as queries need.
type dashboard struct {
	Title      string  `json:"title"`
	Panels     []panel `json:"panels"`
	Templating struct {
		List []variable `json:"list"`
	} `json:"templating"`
}

type panel struct {
	Title   string  `json:"title"`
	Panels  []panel `json:"panels"` // of a collapsed row
	Targets []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			// NoValue is what the panel says where there is no data. That it is
			// unknown is a fault; anything else is none, as in a list of firing alerts.
			NoValue string `json:"noValue"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
}

// flat returns the panels, those of collapsed rows included.
func flat(panels []panel) (all []panel) {
	for _, p := range panels {
		all = append(append(all, p), flat(p.Panels)...)
	}
	return all
}

// checkDashboards tries every panel's queries. A panel none of whose queries finds
// data is wrong: counters start at zero, so that even a quiet system has some.
// Panels that lack data are one finding, or follow from what is wrong with the
// parts whose figures they show.
func (d *doctor) checkDashboards(ctx context.Context, e *exam, prom promv1.API) {
	if d.cfg.Dashboards == "" {
		return
	}
	files, err := filepath.Glob(filepath.Join(d.cfg.Dashboards, "*.json"))
	if err != nil || len(files) == 0 {
		e.wrong(partDashboards, "are not in "+d.cfg.Dashboards, "Say where they are with --dashboards, or --dashboards '' to leave them out.")
		return
	}
	for _, file := range files {
		board, err := readDashboard(file)
		if err != nil {
			e.wrong(partDashboards, d.reason(err), "Compare it with the version in git.")
			continue
		}
		d.checkDashboard(ctx, e, prom, board)
	}
}

func readDashboard(file string) (board dashboard, err error) {
	content, err := os.ReadFile(file) //nolint:gosec // the folder is the caller's choice
	if err != nil {
		return board, err
	}
	if err := json.Unmarshal(content, &board); err != nil {
		return board, fmt.Errorf("%s is no dashboard: %w", file, err)
	}
	return board, nil
}

func (d *doctor) checkDashboard(ctx context.Context, e *exam, prom promv1.API, board dashboard) {
	var empty []string
	queries := 0
	for _, p := range flat(board.Panels) {
		queries += len(p.Targets)
		if why := d.lacking(ctx, prom, p, board.expand); why != "" {
			empty = append(empty, why)
		}
	}
	if len(empty) == 0 {
		e.ok(partDashboards, fmt.Sprintf("%q: all panels find data with %d queries", board.Title, queries))
		return
	}
	e.wrong(partDashboards, fmt.Sprintf("%q: no data in %s", board.Title, strings.Join(empty, ", ")),
		"Wait a minute after a start, and send an order; then see which part is missing.").from(d.sources()...).like("no data")
}

// lacking names the panel if none of its queries finds data, or one fails.
func (d *doctor) lacking(ctx context.Context, prom promv1.API, p panel, expand func(string) string) string {
	queries, found := 0, 0
	for _, t := range p.Targets {
		if t.Expr == "" { // a query of another data source
			continue
		}
		n, err := count(ctx, prom, expand(t.Expr))
		if err != nil {
			return fmt.Sprintf("%s (%s)", p.Title, d.reason(err))
		}
		queries, found = queries+1, found+n
	}
	if says := p.FieldConfig.Defaults.NoValue; queries > 0 && found == 0 && (says == "" || strings.EqualFold(says, "unknown")) {
		return p.Title
	}
	return ""
}

// count returns how many series or samples an expression finds.
func count(ctx context.Context, prom promv1.API, expr string) (int, error) {
	value, _, _, err := prom.Query(ctx, expr, time.Time{})
	if err != nil {
		return 0, err
	}
	switch v := value.(type) {
	case model.Vector:
		return len(v), nil
	case model.Matrix:
		return len(v), nil
	default:
		return 1, nil
	}
}

// variable is a variable of a dashboard.
type variable struct {
	Name       string `json:"name"`
	AllValue   string `json:"allValue"`
	IncludeAll bool   `json:"includeAll"`
	Current    struct {
		Value json.RawMessage `json:"value"`
	} `json:"current"`
}

// all is what stands for everything that can be chosen, or for what is chosen
// at first where only one can be.
func (v variable) all() string {
	switch {
	case v.AllValue != "":
		return v.AllValue
	case v.IncludeAll:
		return ".*"
	}
	var one string
	_ = json.Unmarshal(v.Current.Value, &one) // several are chosen, or none
	return one
}

// expand puts values in place of Grafana's variables.
func (d dashboard) expand(expr string) string {
	values := map[string]string{"__rate_interval": "1m", "__interval": "15s", "__range": "15m"}
	for _, v := range d.Templating.List {
		values[v.Name] = v.all()
	}
	name := regexp.MustCompile(`\$(?:\{(\w+)(?::\w+)?\}|(\w+))`)
	return name.ReplaceAllStringFunc(expr, func(found string) string {
		groups := name.FindStringSubmatch(found)
		if value, ok := values[groups[1]+groups[2]]; ok {
			return value
		}
		return found
	})
}

// sources are the parts on whose figures dashboards rest.
func (d *doctor) sources() []string {
	names := []string{partKafka, partPrometheus, partJMX, partNode}
	for _, s := range d.cfg.Services {
		names = append(names, s.Name)
	}
	return slices.Concat(names, []string{partCertificates})
}
