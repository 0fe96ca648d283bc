package ruletest_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"

	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	"github.com/vigie-dev/vigie/internal/testenv/ruletest"
)

func TestMain(m *testing.M) { leaks.Main(m) }

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
		if errs := f.Run(f.Tests[0], f.Groups); len(errs) != tt.fails {
			t.Errorf("%s: %v, want %d failures", name, errs, tt.fails)
		}
	}
}

// Each thing in a rule is changed, alone, and each change has a name of its own.
func TestMutants(t *testing.T) {
	rule := rulefmt.Rule{Alert: "High", Expr: `max by (a) (rate(m{a="b",c=~"d|e"}[5m])) > 2 unless on (a) n == 0`, For: model.Duration(60e9)}
	mutants, err := ruletest.Mutants(rule)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, m := range mutants {
		if _, twice := got[m.Change]; twice {
			t.Errorf("two are called %s", m.Change)
		}
		if got[m.Change] = m.Rule.Expr; m.Rule.For != rule.For {
			got[m.Change] = m.Rule.For.String()
		}
	}
	with := func(old, changed string) string { return strings.Replace(rule.Expr, old, changed, 1) }
	left, _, _ := strings.Cut(rule.Expr, " unless")
	want := map[string]string{
		"for: 1m → 0s": "0s", "for: 1m → 2m": "2m", "for: 1m → 30s": "30s",
		"unless → and n == 0":                          with("unless", "and"),
		"without: … unless n == 0":                     with("unless on (a) n == 0", "or on (a) "+left),
		"on (a) → ignoring":                            with("on (a)", "ignoring (a)"),
		"on (a) → without a":                           with("on (a)", "on ()"),
		"> → >= 2":                                     with("> 2", ">= 2"),
		"> → < 2":                                      with("> 2", "< 2"),
		"2 → 4":                                        with("> 2", "> 4"),
		"2 → 1":                                        with("> 2", "> 1"),
		"== → != 0":                                    with("==", "!="),
		"0 → 1":                                        with("== 0", "== 1"),
		"by (a) → without":                             with("by (a)", "without (a)"),
		"by (a) → without a":                           with(" by (a) (", "("),
		"m{a=\"b\" → a!=\"b\"}":                        with(`a="b"`, `a!="b"`),
		"m{a=\"b\" → a=\"bx\"}":                        with(`a="b"`, `a="bx"`),
		"m{without a=\"b\"}":                           with(`a="b",`, ""),
		"m{c=~\"d|e\" → c!~\"d|e\"}":                   with("=~", "!~"),
		"m{c=~\"d|e\" → c=~\"d|ex\"}":                  with("d|e", "d|ex"),
		"m{c=~\"d|e\" → c=~\"e\"}":                     with("d|e", "e"),
		"m{c=~\"d|e\" → c=~\"d\"}":                     with("d|e", "d"),
		"m{without c=~\"d|e\"}":                        with(`,c=~"d|e"`, ""),
		"m{a=\"b\",c=~\"d|e\"} [5m → 10m]":             with("5m", "10m"),
		"m{a=\"b\",c=~\"d|e\"} [5m → 2m30s]":           with("5m", "2m30s"),
		"max → min of rate(m{a=\"b\",c=~\"d|e\"}[5m])": with("max", "min"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// A change is killed where the whole test would fail, and a trial of what is unchanged
// passes.
func TestTrial(t *testing.T) {
	f := load(t, someRules, strings.Replace(someTests, "VALUE", "11", 1))
	if trial, err := f.Prepare(f.Tests[0], "Low"); trial != nil || err != nil {
		t.Fatalf("%v, %v for an alert that is not tested", trial, err)
	}
	trial, err := f.Prepare(f.Tests[0], "High")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := trial.Close(); err != nil {
			t.Error(err)
		}
	}()
	rule := f.Groups[0].Rules[1]
	if errs := trial.Try(rule); len(errs) > 0 {
		t.Error(errs)
	}
	mutants, err := ruletest.Mutants(rule)
	if err != nil {
		t.Fatal(err)
	}
	lived := map[string]bool{}
	for _, m := range mutants {
		if len(trial.Try(m.Rule)) == 0 {
			lived[m.Change] = true
		}
	}
	if got, want := slices.Sorted(maps.Keys(lived)), []string{"10 → 5", "> → >= 10"}; !slices.Equal(got, want) {
		t.Errorf("lived: %q, want %q", got, want)
	}
}
