package monitoring_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"

	"github.com/vigie-dev/vigie/internal/testenv/dashboards"
	"github.com/vigie-dev/vigie/internal/testenv/series"
)

// Every query runs on what the services and exporters show, with two instances of each:
// what matches one series with several is noticed at run time alone, and only then.
func TestQueriesOfShippedDashboardsRun(t *testing.T) {
	var queries []dashboards.Query
	for _, d := range shipped(t) {
		queries = append(queries, dashboards.Queries(d)...)
		for _, a := range d.Annotations.List {
			queries = append(queries, dashboards.Query{Dashboard: d.Title, Panel: a.Name, Expr: a.Expr})
		}
	}
	storage := promqltest.LoadedStorage(t, sampled(t, metrics(t), queries))
	engine := promqltest.NewTestEngine(t, false, time.Minute, 1_000_000)
	for _, q := range queries {
		query, err := engine.NewInstantQuery(t.Context(), storage, nil, q.Expr, time.Unix(600, 0))
		if err != nil {
			t.Fatal(err)
		}
		result := query.Exec(t.Context())
		vector, err := result.Vector()
		if err != nil {
			t.Errorf("%s, %s %s: %v\n%s", q.Dashboard, q.Panel, q.Ref, err, q.Expr)
		}
		if len(vector) == 0 && !filters(q.Expr) {
			t.Errorf("%s, %s %s finds nothing where everything is there\n%s", q.Dashboard, q.Panel, q.Ref, q.Expr)
		}
		query.Close()
	}
}

// filters says whether an expression leaves out values by purpose.
func filters(expr string) bool {
	return strings.ContainsAny(expr, "<>") || strings.Contains(expr, "==") || strings.Contains(expr, "absent(")
}

// sampled returns series of everything that the queries select, in promqltest's
// language: of each label the values that queries select by, or two of its own.
func sampled(t *testing.T, known series.Known, queries []dashboards.Query) string {
	t.Helper()
	values := map[string]map[string]map[string]bool{} // of metrics, of labels
	for _, q := range queries {
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(q.Expr)
		if err != nil {
			t.Fatal(err)
		}
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			if s, ok := node.(*parser.VectorSelector); ok {
				if values[s.Name] == nil {
					values[s.Name] = ofMetric(known[s.Name])
				}
				for _, m := range s.LabelMatchers {
					wanted(values[s.Name], m)
				}
			}
			return nil
		})
	}
	var text strings.Builder
	text.WriteString("load 15s\n")
	for _, name := range slices.Sorted(maps.Keys(values)) {
		for _, set := range combinations(values[name]) {
			fmt.Fprintf(&text, "  %s{%s} 1+1x50\n", name, strings.Join(set, ","))
		}
	}
	return text.String()
}

// ofMetric gives a metric's labels their values: of what there are several everywhere, two.
func ofMetric(has series.Labels) map[string]map[string]bool {
	if has == nil { // of a recorded series
		has = series.Labels{"service": true, "instance": true, "sloth_slo": true}
	}
	values := map[string]map[string]bool{}
	for label := range has {
		switch label {
		case model.MetricNameLabel:
		case "instance":
			values[label] = map[string]bool{"a:1": true, "b:1": true}
		case "service":
			values[label] = map[string]bool{"commande": true, "paiement": true}
		case "sloth_slo":
			values[label] = map[string]bool{"freshness": true, "coverage": true}
		case labels.BucketLabel:
			values[label] = map[string]bool{"0.5": true, "+Inf": true}
		default:
			values[label] = map[string]bool{"x": true}
		}
	}
	return values
}

// wanted adds the values that a matcher selects, where it names them.
func wanted(values map[string]map[string]bool, m *labels.Matcher) {
	if m.Name == model.MetricNameLabel || m.Value == "" || m.Type == labels.MatchNotEqual || m.Type == labels.MatchNotRegexp {
		return
	}
	if values[m.Name] == nil {
		values[m.Name] = map[string]bool{}
	}
	for _, value := range strings.Split(m.Value, "|") {
		if m.Type == labels.MatchEqual || !strings.ContainsAny(value, `.*+([^\`) {
			values[m.Name][value] = true
		}
		if value == "5.." || value == "4.." {
			values[m.Name][strings.ReplaceAll(value, ".", "0")] = true
		}
	}
}

// combinations returns each set of labels that can be made of the values.
func combinations(values map[string]map[string]bool) [][]string {
	all := [][]string{nil}
	for _, label := range slices.Sorted(maps.Keys(values)) {
		var next [][]string
		for _, set := range all {
			for _, value := range slices.Sorted(maps.Keys(values[label])) {
				next = append(next, append(slices.Clone(set), fmt.Sprintf("%s=%q", label, value)))
			}
		}
		if len(next) > 0 {
			all = next
		}
	}
	return all
}
