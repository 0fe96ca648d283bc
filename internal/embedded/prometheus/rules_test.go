//go:build !race || whole

package prometheus

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/monitoring"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

// metrics are some that services have.
func metrics() []string {
	return slices.Concat(catalogue.Common().Names(), service.Common().Names(), service.ConsumerCatalogue().Names(), service.WaitCatalogue().Names(),
		[]string{"payments_total", "orders_total", "db_client_connections", "db_client_connections_max", "kafka_brokers", "kafka_topic_partition_current_offset", "kafka_client_requests_total", "kafka_client_throttled_responses_total", "kafka_consumergroup_state", "kafka_consumergroup_purged_offsets",
			"orders_oldest_waiting_seconds", "order_journeys_unseen_seconds", "order_journeys_total", "dead_letters_waiting", "probe_success", "probe_interval_seconds",
			"audit_unaccounted_orders", "audit_differences", "audit_last_success_timestamp_seconds", "audit_interval_seconds"})
}

// Of the shipped rules those about the broker's exporter, the host and the
// Alertmanager are left out, and no other; what is left of a rule is evaluated.
func TestRulesWithoutTheirPartAreLeftOut(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name          string
		alertmanagers []string
		missing       string // of TargetsMissing
	}{
		{"alone", nil, `TargetsMissing in part: no up{job="alertmanager"}, up{job="kafka"}, up{job="node"} here`},
		{"with an Alertmanager", []string{"http://127.0.0.1:1"}, `TargetsMissing in part: no up{job="kafka"}, up{job="node"} here`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, Config{Metrics: metrics(), Alertmanagers: test.alertmanagers, Files: monitoring.Files})
			left := s.LeftOut()
			if !slices.Contains(left, test.missing) {
				t.Errorf("left out: %q, want %q among them", left, test.missing)
			}
			names := ruleNames(t, s)
			for file, want := range map[string]bool{
				"services.yml": true, "consumers.yml": true, "cluster.yml": true, "orders.yml": true, "banking.yml": true, "monitoring.yml": true,
				"kafka.yml": false, "host.yml": false, "jvm.yml": false, "collector.yml": false,
			} {
				for _, name := range shippedNames(t, "rules/"+file) {
					want := want && (name != "AlertmanagerReloadFailed" || test.alertmanagers != nil)
					out := slices.ContainsFunc(left, func(l string) bool { return strings.HasPrefix(l, name+": ") })
					if names[name] != want || out == want {
						t.Errorf("%s: %s is evaluated: %v, left out: %v", file, name, names[name], out)
					}
				}
			}
		})
	}
}

// ruleNames are the rules that the server evaluates.
func ruleNames(t *testing.T, s *running) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, g := range s.engine.ruler.RuleGroups() {
		for _, r := range g.Rules() {
			names[r.Name()] = true
		}
	}
	return names
}

func shippedNames(t *testing.T, file string) []string {
	t.Helper()
	loaded, err := loadRules(monitoring.Files, []string{file}, parser.NewParser(parser.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range loaded.groups[file].Groups {
		for _, r := range g.Rules {
			names = append(names, r.Alert+r.Record)
		}
	}
	return names
}

// What is left of an expression.
func TestJudge(t *testing.T) {
	f := &ruleFiles{syntax: parser.NewParser(parser.Options{})}
	exists := &parts{
		metrics: map[string]bool{"up": true, "lag": true}, recorded: map[string]bool{"lag:sum": true}, jobs: []string{jobServices, jobSelf},
	}
	for _, test := range []struct{ expr, left, missing string }{
		{`lag > 1`, `lag > 1`, ""},
		{`sum by (job) (rate(lag[5m])) / lag:sum`, `sum by (job) (rate(lag[5m])) / lag:sum`, ""},
		{`disk < 1`, "", "disk"},
		{`sum(rate(disk[5m])) > 1`, "", "disk"},
		{`max_over_time(sum(disk)[5m:1m])`, "", "disk"},
		{`lag * disk`, "", "disk"},
		{`lag unless disk`, "", "disk"},
		{`lag and disk`, "", "disk"},
		{`lag or disk`, `lag`, "disk"},
		{`(disk or lag) > 1`, `(lag) > 1`, "disk"},
		{`disk or engine`, "", "disk engine"},
		{`absent(up{job="services"}) or absent(up{job="kafka"})`, `absent(up{job="services"})`, `up{job="kafka"}`},
		{`up{job!="services"} == 0`, `up{job!="services"} == 0`, ""},
		{`up{job=~"kafka|node"} == 0`, "", `up{job=~"kafka|node"}`},
		{`{__name__="disk"}`, "", "disk"},
		{`prometheus_rule_evaluation_failures_total`, `prometheus_rule_evaluation_failures_total`, ""},
		{`vector(1) > time()`, `vector(1) > time()`, ""},
	} {
		left, missing := f.judge(exists, test.expr)
		if left != test.left || strings.Join(missing, " ") != test.missing {
			t.Errorf("%s: %q without %q, want %q without %q", test.expr, left, missing, test.left, test.missing)
		}
	}
}

const testAlert = `groups:
  - name: test
    rules:
      - alert: TooMany
        expr: waiting > 10
        labels: {severity: critical}
        annotations: {summary: '{{ $value }} wait', runbook_url: http://runbooks/TooMany.md}
      - alert: AFew
        expr: waiting > 10
        labels: {severity: warning}
        annotations: {summary: 'some wait', runbook_url: http://runbooks/AFew.md}
`

// An alert is in the log once when it fires and once when it resolves, as urgent
// as its severity, with its runbook; and goes to the Alertmanager.
func TestAlertsAreLogged(t *testing.T) {
	t.Parallel()
	var waiting atomicText
	waiting.set("waiting 12\n")
	page := pageOf(t, waiting.get)
	am := newAlertmanager(t)
	s := start(t, Config{Files: fast(t, map[string]string{"rules/test.yml": testAlert}), Alertmanagers: []string{am.URL + "/under"}})
	if err := s.Scrape([]Target{{Service: "paiement", URL: page.URL}}); err != nil {
		t.Fatal(err)
	}
	s.log.until(t, "level=ERROR", `"alert firing"`, "alert=TooMany", "severity=critical", `summary="12 wait"`, "runbook=http://runbooks/TooMany.md")
	s.log.until(t, "level=WARN", `"alert firing"`, "alert=AFew")
	am.until(t, "TooMany")
	s.until(t, `ALERTS{alertname="TooMany",alertstate="firing"}`, some)
	waiting.set("waiting 3\n")
	s.log.until(t, "level=INFO", `"alert resolved"`, "alert=TooMany", "runbook=http://runbooks/TooMany.md", "after=")
	s.until(t, `ALERTS{alertname="TooMany"}`, func(v model.Vector) bool { return len(v) == 0 })
	waiting.set("waiting 14\n")
	s.log.until(t, `summary="14 wait"`)
	if lines := s.log.lines("alert firing", "TooMany"); len(lines) != 2 {
		t.Errorf("it fired twice, and was logged so: %q", lines)
	}
	if lines := s.log.lines("alert resolved", "TooMany"); len(lines) != 1 {
		t.Errorf("it resolved once, and was logged so: %q", lines)
	}
	s.until(t, `up{job="alertmanager"}`, one(1))
}

// Rules are cut off by a stop that has no time for them.
func TestStopHasADeadline(t *testing.T) {
	t.Parallel()
	for range 5 { // one that has just begun to scrape must not begin again after its stop
		s := start(t, Config{})
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Stop(ctx) // which names what still ran; the leak test sees that it ends
	}
}
