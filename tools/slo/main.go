// Command slo makes monitoring/rules/slo.yml of monitoring/slo, by Sloth's library,
// and with --check says whether it is what would be made. It is a module of its own,
// so that Sloth is in nobody else's build.
//
// It adds to Sloth's rules what a system with few events needs.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	prommodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/slok/sloth/pkg/common/model"
	"github.com/slok/sloth/pkg/lib"
	"go.yaml.in/yaml/v3"
)

func main() {
	monitoring := flag.String("monitoring", "../../monitoring", "the folder monitoring")
	check := flag.Bool("check", false, "write nothing; fail where the rules are not what would be made")
	flag.Parse()
	if err := run(context.Background(), *monitoring, *check); err != nil {
		fmt.Fprintln(os.Stderr, "slo:", err)
		os.Exit(1)
	}
}

// errDrift: the rules that are there are not those of the objectives.
var errDrift = errors.New("rules/slo.yml is not what make slo makes of monitoring/slo")

// run makes the rules of a folder monitoring and writes them, or compares them with
// those that are there.
func run(ctx context.Context, monitoring string, check bool) error {
	rules, err := generate(ctx, monitoring)
	if err != nil {
		return err
	}
	sum, err := sumOf(monitoring)
	if err != nil {
		return err
	}
	text := append(head(sum, rules), rules...)
	path := filepath.Join(monitoring, "rules", "slo.yml")
	if !check {
		if err := os.WriteFile(path, text, 0o644); err != nil { //nolint:gosec // it is for everybody to read
			return fmt.Errorf("write rules: %w", err)
		}
		return nil
	}
	there, err := os.ReadFile(path) //nolint:gosec // of the repository
	if err != nil {
		return fmt.Errorf("read rules: %w", err)
	}
	if !bytes.Equal(there, text) {
		return errDrift
	}
	return nil
}

// head says where the rules come from. The sums are compared by a test that does
// without Sloth.
func head(inputs string, rules []byte) []byte {
	sum := sha256.Sum256(rules)
	return fmt.Appendf(nil, `# Do our promises about orders hold? Made by `+"`make slo`"+` from slo/*.yml; change those.
# inputs %s
# rules %s
`, inputs, hex.EncodeToString(sum[:]))
}

// sumOf is the sum of what the rules are made of: the objectives, the windows and
// this program.
func sumOf(monitoring string) (string, error) {
	sum := sha256.New()
	for _, pattern := range []string{"slo/*.yml", "slo/windows/*.yml", "../tools/slo/*.go", "../tools/slo/go.mod"} {
		names, err := filepath.Glob(filepath.Join(monitoring, pattern))
		if err != nil || len(names) == 0 {
			return "", fmt.Errorf("find %s: %d files, %w", pattern, len(names), err)
		}
		slices.Sort(names)
		for _, name := range names {
			text, err := os.ReadFile(name) //nolint:gosec // of the repository
			if err != nil {
				return "", fmt.Errorf("read what rules are made of: %w", err)
			}
			sum.Write(text)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

const (
	// period is the window of every objective; slo/windows has what belongs to it.
	period = 14 * 24 * time.Hour
	// leastBad is how many bad events there have to be before anybody is called: one
	// unlucky order in a quiet night is a whole ratio.
	leastBad = 5
	// outage is the ratio over five minutes that calls somebody whatever the last hour was
	// like: in the hour after a rush, a bank that fails for everybody is a small share.
	outage = 0.5
	// outageWindow is what most failed in, and something still did in recentWindow.
	outageWindow, recentWindow = 5 * time.Minute, time.Minute
	// kafkaBack holds while a window has Kafka's outage in it, which is over. That outage had
	// its page, and what failed in it is no second one.
	kafkaBack = "(max(min_over_time(kafka_brokers[%s])) == 0 and max(kafka_brokers) > 0)"
	// longInterval is how often windows of a day and more are looked at: they read
	// days of samples, and move slowly.
	longInterval = 2 * time.Minute
)

const (
	runbooks = "https://github.com/vigie-dev/vigie/blob/main/monitoring/runbooks/"
	// dashboard is below the address of Grafana, which prometheus.yml has.
	dashboard = "{{ $externalLabels.grafana_url }}/d/vigie-overview"
)

// generate makes the rules of the objectives in a folder monitoring.
func generate(ctx context.Context, monitoring string) ([]byte, error) {
	generator, err := lib.NewPrometheusSLOGenerator(lib.PrometheusSLOGeneratorConfig{
		WindowsFS: os.DirFS(filepath.Join(monitoring, "slo", "windows")), DefaultSLOPeriod: period,
	})
	if err != nil {
		return nil, fmt.Errorf("start Sloth: %w", err)
	}
	specs, err := filepath.Glob(filepath.Join(monitoring, "slo", "*.yml"))
	if err != nil || len(specs) == 0 {
		return nil, fmt.Errorf("find objectives: %d files, %w", len(specs), err)
	}
	var all []group
	for _, spec := range specs {
		text, err := os.ReadFile(spec) //nolint:gosec // of the repository
		if err != nil {
			return nil, fmt.Errorf("read objectives: %w", err)
		}
		made, err := generator.GenerateFromRaw(ctx, text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", spec, err)
		}
		for _, one := range made.SLOResults {
			groups, err := groupsOf(one)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", spec, one.SLO.ID, err)
			}
			all = append(all, groups...)
		}
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(map[string]any{"groups": all}); err != nil {
		return nil, fmt.Errorf("write rules: %w", err)
	}
	return out.Bytes(), nil
}

// group is a group of rules as it is written.
type group struct {
	Name     string             `yaml:"name"`
	Interval prommodel.Duration `yaml:"interval,omitempty"`
	Rules    []rulefmt.Rule     `yaml:"rules"`
}

// groupsOf are the groups of one objective: the ratios and counts of bad events over
// short windows and, less often, over long ones; what they say of the budget; alerts.
func groupsOf(made model.PromSLOResult) ([]group, error) {
	id := made.SLO.ID
	short := group{Name: id + "-short"}
	long := group{Name: id + "-long", Interval: prommodel.Duration(longInterval)}
	add := func(window time.Duration, rule rulefmt.Rule) {
		into := &short
		if window >= 24*time.Hour {
			into = &long
		}
		rule.Expr = plain(rule.Expr)
		into.Rules = append(into.Rules, rule)
	}
	for _, rule := range made.PrometheusRules.SLIErrorRecRules.Rules {
		window, err := prommodel.ParseDuration(rule.Labels["sloth_window"])
		if err != nil {
			return nil, fmt.Errorf("window of %s: %w", rule.Record, err)
		}
		add(time.Duration(window), rule)
	}
	alerts := group{Name: id + "-alerts"}
	counted := []time.Duration{outageWindow, recentWindow}
	for _, rule := range made.PrometheusRules.AlertRules.Rules {
		windows, err := guard(&rule, made.SLO)
		if err != nil {
			return nil, err
		}
		counted = append(counted, windows...)
		alerts.Rules = append(alerts.Rules, rule)
	}
	slices.Sort(counted)
	for _, window := range slices.Compact(counted) {
		add(window, badEvents(made.SLO, window))
	}
	meta := group{Name: id + "-budget"}
	for _, rule := range made.PrometheusRules.MetadataRecRules.Rules {
		rule.Expr = plain(rule.Expr)
		if rule.Record == "sloth_slo_info" { // names Sloth's build; nobody asks for it
			continue
		}
		meta.Rules = append(meta.Rules, rule)
	}
	return []group{short, long, meta, alerts}, nil
}

// plain is an expression as Prometheus formats it, without what is left of Sloth's
// arithmetic in the fifteenth digit.
func plain(text string) string {
	expr, err := parser.ParseExpr(text)
	if err != nil {
		return text // promtool, and every test, says so
	}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if number, ok := node.(*parser.NumberLiteral); ok {
			number.Val, _ = strconv.ParseFloat(strconv.FormatFloat(number.Val, 'g', 10, 64), 64)
		}
		return nil
	})
	return parser.Prettify(expr)
}

// badEvents counts the bad events of a window.
func badEvents(slo model.PromSLO, window time.Duration) rulefmt.Rule {
	text := prommodel.Duration(window).String()
	query := regexp.MustCompile(`{{ *\.window *}}`).ReplaceAllString(slo.SLI.Events.ErrorQuery, text)
	return rulefmt.Rule{
		Record: "slo:bad_events:increase" + text,
		Expr:   plain(fmt.Sprintf("(%s) * %g", query, window.Seconds())),
		Labels: map[string]string{"sloth_id": slo.ID, "sloth_service": slo.Service, "sloth_slo": slo.Name},
	}
}

// guard makes an alert of Sloth's one of ours: with a least number of bad events in each
// of its long windows, which it returns, with the bank's severities, runbook and
// dashboard, and, where it pages, with outages that the last hour would hide.
func guard(rule *rulefmt.Rule, slo model.PromSLO) (windows []time.Duration, err error) {
	expr, err := parser.ParseExpr(rule.Expr)
	if err != nil {
		return nil, fmt.Errorf("parse alert: %w", err)
	}
	quick, ok := expr.(*parser.BinaryExpr)
	if !ok || quick.Op != parser.LOR {
		return nil, fmt.Errorf("the alert is no alternative: %s", expr)
	}
	id := fmt.Sprintf(`{sloth_id=%q}`, slo.ID)
	page := rule.Labels["sloth_severity"] == "page"
	var clauses []string
	for _, clause := range []parser.Expr{quick.LHS, quick.RHS} {
		found := regexp.MustCompile(`ratio_rate(\w+)`).FindAllStringSubmatch(clause.String(), -1)
		short, long := found[0][1], found[len(found)-1][1]
		window, err := prommodel.ParseDuration(long)
		if err != nil {
			return nil, fmt.Errorf("window of %s: %w", clause, err)
		}
		windows = append(windows, time.Duration(window))
		text := fmt.Sprintf("%s and on (sloth_id) slo:bad_events:increase%s%s >= %d", clause, long, id, leastBad)
		if page {
			text += " unless on () " + fmt.Sprintf(kafkaBack, short)
		}
		clauses = append(clauses, "("+text+")")
	}
	severity := "warning"
	if page {
		severity = "critical"
		clauses = append(clauses, fmt.Sprintf(
			"(max without (sloth_window) (slo:sli_error:ratio_rate%[1]s%[3]s > %[4]g) and on (sloth_id) slo:bad_events:increase%[1]s%[3]s >= %[5]d"+
				" and on (sloth_id) slo:bad_events:increase%[2]s%[3]s > 0 unless on () %[6]s)",
			prommodel.Duration(outageWindow), prommodel.Duration(recentWindow), id, outage, leastBad,
			fmt.Sprintf(kafkaBack, prommodel.Duration(outageWindow))))
	}
	runbook := rule.Alert
	if severity == "warning" {
		rule.Alert += "Slow"
	}
	rule.Expr = plain(strings.Join(clauses, " or "))
	rule.Labels = map[string]string{"severity": severity}
	delete(rule.Annotations, "title")
	rule.Annotations["runbook_url"] = runbooks + runbook + ".md"
	rule.Annotations["dashboard_url"] = dashboard
	return windows, nil
}
