package monitoring_test

import (
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"
)

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
		if !firing[name] || !silent[name] {
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
