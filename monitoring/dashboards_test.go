package monitoring_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/vigie-dev/vigie/internal/testenv/dashboards"
	"github.com/vigie-dev/vigie/internal/testenv/golden"
	"github.com/vigie-dev/vigie/internal/testenv/repo"
	"github.com/vigie-dev/vigie/internal/testenv/series"
)

func shipped(t *testing.T) []dashboards.Dashboard {
	t.Helper()
	all, err := dashboards.Load("grafana/dashboards")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func metrics(t *testing.T) series.Known {
	t.Helper()
	m, err := series.Load(repo.Path(t))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The titles are documented; the uids are in people's bookmarks.
func TestShippedDashboardsAreTheDocumentedOnes(t *testing.T) {
	got := map[string]string{}
	for _, d := range shipped(t) {
		got[d.UID] = d.Title
	}
	want := map[string]string{
		"vigie-overview": "Kafka Banking System Overview",
		"vigie-services": "Microservices Health Dashboard",
		"vigie-broker":   "Kafka Broker & JVM",
		"vigie-groups":   "Kafka Consumer Groups",
		"vigie-host":     "Host",
		"vigie-slo":      "Service Level Objectives",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestShippedDashboardsAreSound(t *testing.T) {
	if err := dashboards.Check(shipped(t), metrics(t), repo.Path(t)); err != nil {
		t.Error(err)
	}
}

// A change is a line of the difference, whether it was made by hand or exported from
// Grafana.
func TestShippedDashboardsStandInTheirForm(t *testing.T) {
	for _, file := range files(t, "grafana/dashboards/*.json") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := dashboards.Format(text)
		if err != nil {
			t.Fatal(err)
		}
		golden.Compare(t, filepath.Join("..", file), want)
	}
}

// Every panel has a query, and each query is one that Prometheus takes.
func TestQueriesOfShippedDashboards(t *testing.T) {
	for _, d := range shipped(t) {
		queries := dashboards.Queries(d)
		queried := map[string]bool{}
		for _, q := range queries {
			queried[q.Panel] = true
			if _, err := parser.NewParser(parser.Options{}).ParseExpr(q.Expr); err != nil {
				t.Errorf("%s, %s: %v", d.Title, q.Panel, err)
			}
		}
		if len(queried) != len(d.AllPanels()) || len(queried) < 10 {
			t.Errorf("%s: %d of %d panels have a query", d.Title, len(queried), len(d.AllPanels()))
		}
	}
}

// The list of firing alerts leads from each alert that there is to the runbook
// that the alert's rule names: a series ALERTS has no annotations, so that the
// query works the page out from the alert's name.
func TestFiringAlertsLeadToTheirRunbooks(t *testing.T) {
	expr, link := alertList(t)
	all := alerts(t)
	for name, rule := range all {
		if got, want := strings.ReplaceAll(link, "${__data.fields.Runbook}", runbook(expr, name)), rule.Annotations["runbook_url"]; got != want {
			t.Errorf("%s leads to %s, its rule says %s", name, got, want)
		}
	}
	if len(all) == 0 {
		t.Error("the rules have no alerts")
	}
}

// alertList returns the query and the link of the list of firing alerts.
func alertList(t *testing.T) (parser.Expr, string) {
	t.Helper()
	for _, d := range shipped(t) {
		for _, p := range d.AllPanels() {
			if p.Title != "Alerts that fire now" {
				continue
			}
			expr, err := parser.NewParser(parser.Options{}).ParseExpr(p.Targets[0].Expr)
			if err != nil {
				t.Fatal(err)
			}
			links, err := p.Links()
			if err != nil || len(links) != 1 {
				t.Fatalf("links %v, %v", links, err)
			}
			return expr, links[0].URL
		}
	}
	t.Fatal("no dashboard lists the alerts that fire")
	return nil, ""
}

// runbook applies the query's label_replace to an alert's name, the innermost
// first, as Prometheus does: a pattern that does not match changes nothing.
func runbook(expr parser.Expr, alert string) string {
	page := ""
	var replace []*parser.Call
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if call, ok := node.(*parser.Call); ok && call.Func.Name == "label_replace" {
			replace = append([]*parser.Call{call}, replace...)
		}
		return nil
	})
	for _, call := range replace {
		argument := func(i int) string { return call.Args[i].(*parser.StringLiteral).Val }
		pattern := regexp.MustCompile("^(?s:" + argument(4) + ")$")
		if match := pattern.FindStringSubmatchIndex(alert); match != nil && argument(1) == "runbook" {
			page = string(pattern.ExpandString(nil, argument(2), alert, match))
		}
	}
	return page
}

// source is what these tests need of a provisioned data source.
type source struct {
	Name, UID, Type, URL string
	IsDefault            bool `yaml:"isDefault"`
	JSON                 struct {
		TimeInterval string `yaml:"timeInterval"`
		Exemplars    []struct {
			Name string
			UID  string `yaml:"datasourceUid"`
		} `yaml:"exemplarTraceIdDestinations"`
		Metrics struct {
			UID     string `yaml:"datasourceUid"`
			Queries []struct{ Query string }
		} `yaml:"tracesToMetrics"`
		Logs struct {
			UID         string `yaml:"datasourceUid"`
			CustomQuery bool   `yaml:"customQuery"`
			Query       string
		} `yaml:"tracesToLogsV2"`
		Index        string
		TimeField    string `yaml:"timeField"`
		MessageField string `yaml:"logMessageField"`
		LevelField   string `yaml:"logLevelField"`
		DataLinks    []struct {
			Field, URL string
			UID        string `yaml:"datasourceUid"`
		} `yaml:"dataLinks"`
	} `yaml:"jsonData"`
	Correlations []correlation
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func sources(t *testing.T) map[string]source {
	t.Helper()
	var file struct{ DataSources []source }
	readYAML(t, "grafana/provisioning/datasources/datasources.yml", &file)
	byUID := map[string]source{}
	for _, s := range file.DataSources {
		if _, twice := byUID[s.UID]; twice || s.UID == "" || s.Name == "" || s.URL == "" {
			t.Errorf("data source %q: its uid %q is missing or not its own, or it has no name or address", s.Name, s.UID)
		}
		byUID[s.UID] = s
	}
	return byUID
}

// The dashboards take the default, which must be a Prometheus whose interval is
// the one that it scrapes at.
func TestDefaultDataSourceIsPrometheus(t *testing.T) {
	var defaults []source
	for _, s := range sources(t) {
		if s.IsDefault {
			defaults = append(defaults, s)
		}
	}
	if len(defaults) != 1 || defaults[0].Type != "prometheus" {
		t.Fatalf("defaults: %v, want one Prometheus", defaults)
	}
	var prometheus struct {
		Global struct {
			Interval string `yaml:"scrape_interval"`
		}
	}
	readYAML(t, "prometheus.yml", &prometheus)
	if got, want := defaults[0].JSON.TimeInterval, prometheus.Global.Interval; got != want || want == "" {
		t.Errorf("the data source's interval is %q, Prometheus scrapes every %q", got, want)
	}
}

// From an exemplar to its trace, from a span to figures and logs.
func TestDataSourcesLeadToEachOther(t *testing.T) {
	all := sources(t)
	leads := map[string]bool{}
	for _, e := range all["prometheus"].JSON.Exemplars {
		if leads[all[e.UID].Type] = true; e.Name != "trace_id" {
			t.Errorf("exemplars have no %s", e.Name)
		}
	}
	if len(leads) != 2 || !leads["jaeger"] || !leads["zipkin"] {
		t.Errorf("exemplars lead to %v", leads)
	}
	traces := all["jaeger"].JSON
	if all[traces.Metrics.UID].Type != "prometheus" {
		t.Errorf("spans lead to the figures of %q", traces.Metrics.UID)
	}
	if len(traces.Metrics.Queries) == 0 {
		t.Error("spans lead to no figures")
	}
	m := metrics(t)
	for _, q := range traces.Metrics.Queries {
		// Grafana puts the span's service there; $$ is a dollar sign in these files.
		if err := m.Check(strings.ReplaceAll(q.Query, "$$__tags", `service="paiement"`)); err != nil {
			t.Error(err)
		}
	}
	if all["alertmanager"].Type != "alertmanager" {
		t.Error("no data source for the alerts")
	}
}

// Dashboards come from where the container has them.
func TestDashboardsAreProvisioned(t *testing.T) {
	var file struct {
		Providers []struct {
			Type    string
			Updates *bool `yaml:"allowUiUpdates"`
			Options struct{ Path string }
		}
	}
	readYAML(t, "grafana/provisioning/dashboards/dashboards.yml", &file)
	if len(file.Providers) != 1 || file.Providers[0].Type != "file" || file.Providers[0].Options.Path != "/etc/grafana/dashboards" {
		t.Errorf("providers: %+v", file.Providers)
	}
	// What is saved in Grafana would stand beside the file, and be lost with the next change of it.
	if updates := file.Providers[0].Updates; updates == nil || *updates {
		t.Error("dashboards can be saved in Grafana")
	}
	compose := repo.Read(t, "docker-compose.yml")
	for _, mount := range []string{"./monitoring/grafana/provisioning:/etc/grafana/provisioning:ro", "./monitoring/grafana/dashboards:/etc/grafana/dashboards:ro"} {
		if !strings.Contains(compose, mount) {
			t.Errorf("docker-compose.yml does not mount %s", mount)
		}
	}
}

// correlation is a link from a field of a source's results to a query of another.
type correlation struct {
	TargetUID          string `yaml:"targetUID"`
	Label, Description string
	Type               string
	Config             struct {
		Type, Field     string
		Target          map[string]any
		Transformations []struct {
			Type, Field, Expression string
			MapValue                string `yaml:"mapValue"`
		}
	}
}

// Logs are read where the Collector writes them, under the names that its
// exporter gives, and each line leads to its trace.
func TestLogsLeadToTheirTraces(t *testing.T) {
	all := sources(t)
	logs := all["elasticsearch"].JSON
	if logs.Index != "logs-vigie.otel-*" || logs.TimeField != "@timestamp" || logs.MessageField != "body.text" || logs.LevelField != "severity_text" {
		t.Errorf("logs are read as %+v", logs)
	}
	if len(logs.DataLinks) != 1 || logs.DataLinks[0].Field != "trace_id" || all[logs.DataLinks[0].UID].Type != "jaeger" || logs.DataLinks[0].URL != "$${__value.raw}" {
		t.Errorf("lines lead to %+v", logs.DataLinks)
	}
	leads := map[string]bool{}
	for _, c := range all["elasticsearch"].Correlations {
		leads[c.Config.Field+" "+all[c.TargetUID].Type] = true
	}
	for _, want := range []string{"trace_id zipkin", "trace_id elasticsearch", "attributes.order_id elasticsearch"} {
		if !leads[want] {
			t.Errorf("lines lead by %v, not by %s", leads, want)
		}
	}
}

// And each trace to its lines: from a span, and from a search's results.
func TestTracesLeadToTheirLogs(t *testing.T) {
	all := sources(t)
	for _, uid := range []string{"jaeger", "zipkin"} {
		source := all[uid]
		if l := source.JSON.Logs; all[l.UID].Type != "elasticsearch" || !l.CustomQuery || l.Query != `trace_id:"$${__span.traceId}"` {
			t.Errorf("%s: spans lead to %+v", uid, l)
		}
		if len(source.Correlations) != 1 || source.Correlations[0].Config.Field != "traceID" || source.Correlations[0].TargetUID != "elasticsearch" {
			t.Errorf("%s: results lead to %+v", uid, source.Correlations)
		}
	}
}

// Grafana refuses to start with a correlation that it does not understand: it
// needs a label and a description, takes the type in config, and nothing but a
// query there; and what is a variable of the target must come from the result.
func TestCorrelationsAreSound(t *testing.T) {
	all := sources(t)
	for _, s := range all {
		for _, c := range s.Correlations {
			if c.Label == "" || c.Description == "" || c.Type != "" || c.Config.Type != "query" || all[c.TargetUID].UID == "" {
				t.Errorf("%s: %+v", s.Name, c)
			}
			query, _ := c.Config.Target["query"].(string)
			variable := c.Config.Field
			for _, tr := range c.Config.Transformations {
				if variable = tr.MapValue; tr.Type != "regex" || tr.Field != c.Config.Field || !strings.Contains(tr.Expression, "(") {
					t.Errorf("%s, %s: %+v", s.Name, c.Label, tr)
				}
			}
			if !strings.Contains(query, "$${"+variable+"}") || strings.Contains(variable, ".") {
				t.Errorf("%s, %s: %q does not ask for %s", s.Name, c.Label, query, variable)
			}
		}
	}
}
