package monitoring_test

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/rulefmt"

	"github.com/vigie-dev/vigie/monitoring/internal/known"
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
	var all []rulefmt.Rule
	for _, file := range files(t, "rules/*.yml") {
		groups, err := known.Rules(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range groups.Groups {
			all = append(all, group.Rules...)
		}
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

// selected are the metrics that an expression selects.
func selected(t *testing.T, expression string) []string {
	t.Helper()
	names, err := known.Selected(expression)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Rules ask for metrics that somebody has, by labels that these have.
func TestRulesAskForKnownMetrics(t *testing.T) {
	metrics, err := known.Load(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range rules(t) {
		if err := metrics.Check(rule.Expr); err != nil {
			t.Errorf("%s%s: %v", rule.Alert, rule.Record, err)
		}
	}
}

// uid is a dashboard's name in its address.
func uid(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var board struct{ UID string }
	if err := json.Unmarshal(text, &board); err != nil || board.UID == "" {
		t.Fatalf("%s has no uid: %v", file, err)
	}
	return board.UID
}

// Whoever is woken by an alert is told what it means and what to do.
func TestAlertsAreComplete(t *testing.T) {
	boards := map[string]bool{}
	for _, file := range files(t, "grafana/dashboards/*.json") {
		boards["http://localhost:3000/d/"+uid(t, file)] = true
	}
	for name, alert := range alerts(t) {
		if severity := alert.Labels["severity"]; severity != "critical" && severity != "warning" {
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
		if url := alert.Annotations["dashboard_url"]; !boards[url] {
			t.Errorf("%s: dashboard_url %q is none of %v", name, url, boards)
		}
	}
}
