package ruletest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/vigie-dev/vigie/internal/testenv/ruletest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const someRules = `
groups:
  - name: some
    rules:
      - record: level:m:sum
        expr: sum(m)
      - alert: High
        expr: level:m:sum > 10
        for: 1m
        labels: {severity: warning}
        annotations: {summary: '{{ $value }} is high'}
`

const someTests = `
rule_files: [rules.yml]
evaluation_interval: 15s
tests:
  - name: high
    interval: 15s
    input_series:
      - {series: 'm{a="b"}', values: '0x4 11x10'}
    alert_rule_test:
      - {eval_time: 2m, alertname: High, exp_alerts: []}
      - eval_time: 2m15s
        alertname: High
        exp_alerts:
          - exp_labels: {severity: warning}
            exp_annotations: {summary: 'VALUE is high'}
    promql_expr_test:
      - {expr: 'level:m:sum', eval_time: 2m, exp_samples: [{labels: 'level:m:sum', value: 11}]}
`

// load writes rules and their tests, and reads them.
func load(t *testing.T, rules, tests string) *ruletest.File {
	t.Helper()
	folder := t.TempDir()
	for name, text := range map[string]string{"rules.yml": rules, "tests.yml": tests} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := ruletest.Load(filepath.Join(folder, "tests.yml"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A test passes where alerts, their words and queries are as it expects, and only
// there.
func TestRun(t *testing.T) {
	for name, tt := range map[string]struct {
		rules, tests string
		fails        int
	}{
		"as expected":    {someRules, strings.Replace(someTests, "VALUE", "11", 1), 0},
		"another value":  {someRules, strings.Replace(someTests, "VALUE", "12", 1), 1},
		"too late":       {strings.Replace(someRules, "1m", "2m", 1), strings.Replace(someTests, "VALUE", "11", 1), 1},
		"too early":      {strings.Replace(someRules, "for: 1m", "for: 45s", 1), strings.Replace(someTests, "VALUE", "11", 1), 1},
		"another record": {strings.Replace(someRules, "sum(m)", "sum(m) + 1", 1), strings.Replace(someTests, "VALUE", "12", 1), 1},
	} {
		f := load(t, tt.rules, tt.tests)
		if errs := f.Run(f.Tests[0], f.Groups, false); len(errs) != tt.fails {
			t.Errorf("%s: %v, want %d failures", name, errs, tt.fails)
		}
	}
}
