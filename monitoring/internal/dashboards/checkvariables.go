package dashboards

import (
	"slices"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/vigie-dev/vigie/monitoring/internal/known"
)

// checkVariables reports variables without a label or description, that ask
// for what does not exist, or that nothing uses.
func checkVariables(d Dashboard, metrics known.Metrics) error {
	var bad problems
	for i, v := range d.Templating.List {
		if v.Label == "" || v.Description == "" {
			bad.addf("variable %s has no label or no description", v.Name)
		}
		if slices.ContainsFunc(d.Templating.List[:i], func(o Variable) bool { return o.Name == v.Name }) {
			bad.addf("there are two variables %s", v.Name)
		}
		if v.Type != "datasource" && !d.uses(v.Name) {
			bad.addf("no query uses the variable %s", v.Name)
		}
		if v.Type == "query" {
			v.checkQuery(&bad, d, metrics)
		}
	}
	return bad.err()
}

func (v Variable) checkQuery(bad *problems, d Dashboard, metrics known.Metrics) {
	text, label, ok := v.labelValues()
	if !ok {
		bad.addf("variable %s does not ask label_values(selector, label)", v.Name)
		return
	}
	if err := metrics.Check(d.expand(text)); err != nil {
		bad.addf("variable %s: %w", v.Name, err)
		return
	}
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(d.expand(text))
	if err != nil {
		bad.addf("variable %s: %w", v.Name, err)
		return
	}
	if !(answers{metrics, bad}).labels(expr).has(label) {
		bad.addf("variable %s: %s has no label %s", v.Name, text, label)
	}
}

// uses tells whether a query asks for the variable. Names of which one begins
// with another do not occur.
func (d Dashboard) uses(variable string) bool {
	return slices.ContainsFunc(Queries(d), func(q Query) bool {
		return strings.Contains(q.Raw, "$"+variable) || strings.Contains(q.Raw, "${"+variable)
	})
}
