package monitoring_test

import (
	"encoding/json"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/model/rulefmt"
	"go.yaml.in/yaml/v3"

	"github.com/vigie-dev/vigie/internal/testenv/repo"
	"github.com/vigie-dev/vigie/internal/testenv/ruletest"
	"github.com/vigie-dev/vigie/internal/testenv/series"
	"github.com/vigie-dev/vigie/services"
)

const runbooks = "https://github.com/vigie-dev/vigie/blob/main/monitoring/runbooks/"

// files returns the files of a pattern, of which there must be some.
func files(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(found), err)
	}
	return found
}

// rules are all rules, as Prometheus parses them.
func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	all, err := series.Rules(repo.Path(t))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// alerts are the rules that alert, by name.
func alerts(t *testing.T) map[string]rulefmt.Rule {
	t.Helper()
	all := map[string]rulefmt.Rule{}
	for _, rule := range rules(t) {
		if rule.Alert == "" {
			continue
		}
		if _, twice := all[rule.Alert]; twice {
			t.Errorf("two alerts are called %s", rule.Alert)
		}
		all[rule.Alert] = rule
	}
	return all
}

// Rules ask for metrics that somebody has, by labels that these have.
func TestRulesAskForKnownMetrics(t *testing.T) {
	metrics, err := series.Load(repo.Path(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range rules(t) {
		if err := metrics.Check(rule.Expr); err != nil {
			t.Errorf("%s%s: %v", rule.Alert, rule.Record, err)
		}
	}
}

// board returns a dashboard's name in its address, and its variables.
func board(t *testing.T, file string) (string, []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		UID        string
		Templating struct{ List []struct{ Name string } }
	}
	if err := json.Unmarshal(text, &board); err != nil || board.UID == "" {
		t.Fatalf("%s has no uid: %v", file, err)
	}
	var variables []string
	for _, v := range board.Templating.List {
		variables = append(variables, v.Name)
	}
	return board.UID, variables
}

// Someone who is woken by an alert learns what it means and what to do.
func TestAlertsAreComplete(t *testing.T) {
	variable := regexp.MustCompile(`&?var-(\w+)=\{\{ \$labels\.\w+ \}\}`)
	boards := map[string][]string{}
	for _, file := range files(t, "grafana/dashboards/*.json") {
		address, variables := board(t, file)
		boards["{{ $externalLabels."+grafana+" }}/d/"+address] = variables
	}
	for name, alert := range alerts(t) {
		if severity := alert.Labels["severity"]; severity != "critical" && severity != "warning" && (severity != "none" || name != "Watchdog") {
			t.Errorf("%s: severity %q", name, severity)
		}
		if len(alert.Labels) != 1 {
			t.Errorf("%s: labels %v, want severity alone", name, alert.Labels)
		}
		for _, annotation := range []string{"summary", "description"} {
			if strings.TrimSpace(alert.Annotations[annotation]) == "" {
				t.Errorf("%s: no %s", name, annotation)
			}
		}
		if summary := alert.Annotations["summary"]; len(summary) > 120 || strings.Contains(summary, "\n") {
			t.Errorf("%s: the summary is not one short line", name)
		}
		url := alert.Annotations["runbook_url"]
		if !strings.HasPrefix(url, runbooks) {
			t.Errorf("%s: runbook_url %q", name, url)
		} else if _, err := os.Stat(filepath.Join("runbooks", path.Base(url))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		address, query, _ := strings.Cut(alert.Annotations["dashboard_url"], "?")
		variables, ok := boards[address]
		if !ok {
			t.Errorf("%s: dashboard_url %q is none of %v", name, address, slices.Sorted(maps.Keys(boards)))
		}
		for _, set := range variable.FindAllStringSubmatch(query, -1) {
			if !slices.Contains(variables, set[1]) {
				t.Errorf("%s: %s has no variable %s", name, address, set[1])
			}
		}
		if rest := variable.ReplaceAllString(query, ""); rest != "" {
			t.Errorf("%s: dashboard_url has %q, want var-NAME={{ $labels.… }}", name, rest)
		}
	}
}

// grafana is the external label of Prometheus which says where Grafana is.
const grafana = "grafana_url"

// One setting leads all alerts to their dashboards: no rule names an address, and
// Prometheus has it as a label that goes with no alert and no sample.
func TestGrafanaIsNamedOnce(t *testing.T) {
	c := prometheus(t)
	if got := c.GlobalConfig.ExternalLabels.Get(grafana); got != "http://localhost:3000" {
		t.Errorf("Grafana is at %q, want where docker-compose.yml publishes it", got)
	}
	pair, _ := variant(t, "ha-pair.yml")
	remote, _ := variant(t, "remote-write.yml")
	for name, steps := range map[string][]*relabel.Config{
		"prometheus.yml": c.AlertingConfig.AlertRelabelConfigs, "ha-pair.yml": pair.AlertingConfig.AlertRelabelConfigs,
		"remote-write.yml": remote.RemoteWriteConfigs[0].WriteRelabelConfigs,
	} {
		sent := labels.NewBuilder(c.GlobalConfig.ExternalLabels)
		if relabel.ProcessBuilder(sent, steps...); sent.Get(grafana) != "" {
			t.Errorf("%s: %s is sent to others", name, sent.Labels())
		}
	}
	for _, file := range files(t, "rules/*.yml") {
		if text := repo.Read(t, "monitoring/"+file); strings.Contains(text, ":3000") {
			t.Errorf("%s names Grafana's address", file)
		}
	}
}

// ruleTests is what is read here of a file of promtool's rule tests.
type ruleTests struct {
	RuleFiles []string `yaml:"rule_files"`
	Tests     []struct {
		Name           string
		AlertRuleTests []struct {
			Alertname string
			ExpAlerts []any `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	}
}

// Every alert has a test in which it fires and one, apart, in which it never
// does; promtool runs them.
func TestAlertsAreTestedBothWays(t *testing.T) {
	firing, silent := map[string]bool{}, map[string]bool{}
	tested := map[string]bool{}
	for _, file := range files(t, "rules/tests/*.yml") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var parsed ruleTests
		if err := yaml.Unmarshal(text, &parsed); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, rules := range parsed.RuleFiles {
			tested[filepath.Join("rules/tests", rules)] = true
		}
		for _, test := range parsed.Tests {
			fires := map[string]bool{}
			for _, check := range test.AlertRuleTests {
				fires[check.Alertname] = fires[check.Alertname] || len(check.ExpAlerts) > 0
			}
			for alert, fired := range fires {
				firing[alert] = firing[alert] || fired
				silent[alert] = silent[alert] || !fired
			}
		}
	}
	for name := range alerts(t) {
		if !firing[name] || !silent[name] && name != "Watchdog" { // which is never silent
			t.Errorf("%s: a test that fires it: %v, one that does not: %v", name, firing[name], silent[name])
		}
		delete(firing, name)
	}
	if len(firing) > 0 {
		t.Errorf("tests of alerts that are not there: %v", firing)
	}
	for _, file := range files(t, "rules/*.yml") {
		if !tested[file] {
			t.Errorf("%s has no tests", file)
		}
	}
}

// Each runbook belongs to an alert, names it, says in French what it is about,
// and answers the same questions.
func TestRunbooks(t *testing.T) {
	french := regexp.MustCompile(`^# .*\n\n\*En français : [^*]+\.\*\n\n`)
	users := map[string][]string{}
	for name, alert := range alerts(t) {
		page := path.Base(alert.Annotations["runbook_url"])
		users[page] = append(users[page], name)
	}
	for _, file := range files(t, "runbooks/*.md") {
		page := filepath.Base(file)
		if page == "README.md" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(users[page]) == 0 {
			t.Errorf("%s: no alert leads here", file)
		}
		for _, alert := range users[page] {
			if !strings.Contains(string(text), "`"+alert+"`") && !strings.HasPrefix(string(text), "# "+alert+"\n") {
				t.Errorf("%s does not name %s", file, alert)
			}
		}
		if !french.Match(text) {
			t.Errorf("%s: no paragraph under the title says in French what it is about, as *En français : …*", file)
		}
		headings := regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(string(text), -1)
		var got []string
		for _, heading := range headings {
			got = append(got, heading[1])
		}
		if want := []string{"Meaning", "Impact", "First look", "Causes", "Fix", "Escalate"}; !slices.Equal(got, want) {
			t.Errorf("%s: sections %v, want %v", file, got, want)
		}
	}
	index, err := os.ReadFile("runbooks/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(alerts(t))) {
		if !strings.Contains(string(index), "`"+name+"`") {
			t.Errorf("runbooks/README.md does not list %s", name)
		}
	}
}

// The queries in the runbooks are valid.
func TestRunbooksAskForKnownMetrics(t *testing.T) {
	metrics, err := series.Load(repo.Path(t))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```promql\n(.*?)^```$")
	queries := 0
	for _, file := range files(t, "runbooks/*.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range blocks.FindAllStringSubmatch(string(text), -1) {
			for line := range strings.Lines(block[1]) {
				if err := metrics.Check(line); err != nil {
					t.Errorf("%s: %v", file, err)
				}
				queries++
			}
		}
	}
	if queries == 0 {
		t.Error("no runbook has a query")
	}
}

// Rules and panels that list the consumers, since a consumer that is not there
// has no series to be found by, list those of the registry.
func TestListedConsumersAreThoseOfTheRegistry(t *testing.T) {
	want := services.All().Consumers().Names()
	slices.Sort(want)
	list := regexp.MustCompile(`service=~\\?"([a-z]+(?:\|[a-z]+)+)\\?"`)
	found := 0
	for _, name := range append(files(t, "rules/*.yml"), files(t, "grafana/dashboards/*.json")...) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range list.FindAllStringSubmatch(string(text), -1) {
			found++
			got := strings.Split(match[1], "|")
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s lists %v, the consumers are %v", name, got, want)
			}
		}
	}
	if found == 0 {
		t.Error("no list of consumers was found")
	}
}

// The unit tests of the rules, by the engine that evaluates them in production.
func TestRuleTests(t *testing.T) {
	for _, name := range files(t, "rules/tests/*.yml") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			if testing.Short() && strings.HasPrefix(filepath.Base(name), "slo") {
				t.Skip("windows of days take seconds")
			}
			f, err := ruletest.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, test := range f.Tests {
				for _, err := range f.Run(test, f.Groups) {
					t.Error(err)
				}
			}
		})
	}
}
