//go:build unix

package monitoring_test

import (
	"os/exec"
	"strings"
	"testing"
)

// The unit tests of the rules, by the promtool of the Prometheus that is
// shipped.
func TestPromtoolRunsTheRuleTests(t *testing.T) {
	promtool := tool(t, "promtool")
	args := append([]string{"test", "rules"}, files(t, "rules/tests/*.yml")...)
	if output, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool test rules: %v\n%s", err, output)
	}
}

// promtool finds more in rules than their parser: duplicates, for one.
func TestPromtoolChecksTheRules(t *testing.T) {
	promtool := tool(t, "promtool")
	args := append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, files(t, "rules/*.yml")...)
	if output, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool check rules: %v\n%s", err, output)
	}
}

func TestAmtoolChecksTheConfigurations(t *testing.T) {
	amtool := tool(t, "amtool")
	for _, file := range alertmanagerFiles(t) {
		if output, err := exec.CommandContext(t.Context(), amtool, "check-config", file).CombinedOutput(); err != nil {
			t.Errorf("amtool check-config %s: %v\n%s", file, err, output)
		}
	}
}

// Alerts reach whom their severity says, and none is lost.
func TestAmtoolRoutesAlerts(t *testing.T) {
	amtool := tool(t, "amtool")
	for severity, want := range map[string]string{"critical": "critical", "warning": "warning", "unheard-of": "log"} {
		for _, file := range alertmanagerFiles(t) {
			output, err := exec.CommandContext(t.Context(), amtool, "config", "routes", "test", "--config.file="+file,
				"alertname=ServiceDown", "service=paiement", "severity="+severity).CombinedOutput()
			if got := strings.TrimSpace(string(output)); err != nil || got != want {
				t.Errorf("%s: severity %s goes to %q, want %s: %v", file, severity, got, want, err)
			}
		}
	}
}
