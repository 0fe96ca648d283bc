package dashboards

import (
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/vigie-dev/vigie/monitoring/internal/known"
)

// checkQueries reports queries that Prometheus refuses, that ask for what does
// not exist, or that would mislead.
func checkQueries(d Dashboard, metrics known.Metrics) error {
	var bad problems
	for _, q := range Queries(d) {
		if err := q.check(metrics); err != nil {
			bad.addf("panel %q, query %s: %w", q.Panel, q.Ref, err)
		}
	}
	for _, a := range d.Annotations.List {
		if a.BuiltIn != 0 {
			continue
		}
		if err := (Query{Raw: a.Expr, Expr: d.expand(a.Expr)}).check(metrics); err != nil {
			bad.addf("annotation %q: %w", a.Name, err)
		}
	}
	for _, p := range d.AllPanels() {
		for i, t := range p.Targets {
			if slices.ContainsFunc(p.Targets[:i], func(o Target) bool { return o.RefID == t.RefID }) || t.RefID == "" {
				bad.addf("panel %q has two queries %q", p.Title, t.RefID)
			}
			overTime := p.Type == "timeseries" || p.Type == "heatmap"
			if overTime && strings.Contains(t.Expr, "_duration_seconds_bucket") && !t.Exemplar {
				bad.addf("panel %q, query %s shows no exemplars", p.Title, t.RefID)
			}
		}
	}
	return bad.err()
}

func (q Query) check(metrics known.Metrics) error {
	if err := metrics.Check(q.Expr); err != nil {
		return err
	}
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(q.Expr)
	if err != nil {
		return err
	}
	var bad problems
	rate := regexp.MustCompile(`\brate\([^\[\]]*\[([^\]]*)\]`)
	for _, groups := range rate.FindAllStringSubmatch(q.Raw, -1) {
		if groups[1] != "$__rate_interval" {
			bad.addf("a rate over [%s], not [$__rate_interval]", groups[1])
		}
	}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if a, ok := node.(*parser.AggregateExpr); ok {
			checkSum(&bad, a)
		}
		return nil
	})
	answer := answers{metrics, &bad}.labels(expr)
	for _, groups := range regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`).FindAllStringSubmatch(q.Legend, -1) {
		if !answer.has(groups[1]) {
			bad.addf("the legend's label %s is not in the answer, which has %v", groups[1], answer)
		}
	}
	return bad.err()
}

// checkSum reports sums of what services of one process report each as a whole.
func checkSum(bad *problems, a *parser.AggregateExpr) {
	if a.Op != parser.SUM {
		return
	}
	parser.Inspect(a.Expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok && (strings.HasPrefix(s.Name, "process_") || strings.HasPrefix(s.Name, "go_")) {
			bad.addf("%s is summed: services of one process report the same figure, take the maximum", s.Name)
		}
		return nil
	})
}
