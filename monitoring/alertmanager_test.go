package monitoring_test

import (
	"slices"
	"strings"
	"testing"

	alertmanager "github.com/prometheus/alertmanager/config"
	"go.yaml.in/yaml/v3"
)

// alertmanagerFiles are the configuration and its variants.
func alertmanagerFiles(t *testing.T) []string {
	t.Helper()
	return append(files(t, "alertmanager/*.yml"), "alertmanager.yml")
}

// Alertmanager takes each configuration; they differ in receivers alone.
func TestAlertmanagerConfigurations(t *testing.T) {
	shipped, err := alertmanager.LoadFile("alertmanager.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range alertmanagerFiles(t) {
		c, err := alertmanager.LoadFile(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for what, pair := range map[string][2]any{
			"route": {c.Route, shipped.Route}, "inhibit_rules": {c.InhibitRules, shipped.InhibitRules},
		} {
			if got, want := text(t, pair[0]), text(t, pair[1]); got != want {
				t.Errorf("%s of %s:\n%s\nof alertmanager.yml:\n%s", what, name, got, want)
			}
		}
		for _, receiver := range c.Receivers {
			if len(receiver.WebhookConfigs) != 1 {
				t.Errorf("%s: %s does not log", name, receiver.Name)
			}
		}
	}
}

func text(t *testing.T, value any) string {
	t.Helper()
	out, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// What inhibits and what is inhibited are alerts that there are.
func TestInhibitionNamesAlerts(t *testing.T) {
	c, err := alertmanager.LoadFile("alertmanager.yml")
	if err != nil {
		t.Fatal(err)
	}
	known := alerts(t)
	for _, rule := range c.InhibitRules {
		for _, matcher := range slices.Concat(rule.SourceMatchers, rule.TargetMatchers) {
			for name := range strings.SplitSeq(matcher.Value, "|") {
				if _, ok := known[name]; !ok || matcher.Name != "alertname" {
					t.Errorf("inhibition by %s", matcher)
				}
			}
		}
	}
}
