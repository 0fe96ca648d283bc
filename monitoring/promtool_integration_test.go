//go:build integration

package monitoring_test

import (
	"os/exec"
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/servers"
)

// The unit tests of the rules, by the promtool of the Prometheus that is shipped: what
// package ruletest makes of them is what it does.
func TestPromtoolRunsTheRuleTests(t *testing.T) {
	promtool := servers.Tool(t, servers.Promtool)
	args := append([]string{"test", "rules"}, files(t, "rules/tests/*.yml")...)
	if output, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool test rules: %v\n%s", err, output)
	}
}
