package dashboards

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/vigie-dev/vigie/internal/testenv/series"
)

// checkQueries reports queries that Prometheus refuses, that ask for what does
// not exist, or that would mislead.
func checkQueries(d Dashboard, metrics series.Known) error {
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

func (q Query) check(metrics series.Known) error {
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

// checkVariables reports variables without a label or description, that ask
// for what does not exist, or that nothing uses.
func checkVariables(d Dashboard, metrics series.Known) error {
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

func (v Variable) checkQuery(bad *problems, d Dashboard, metrics series.Known) {
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

// uses says whether a query has the variable. Names of which one begins
// with another do not occur.
func (d Dashboard) uses(variable string) bool {
	return slices.ContainsFunc(Queries(d), func(q Query) bool {
		return strings.Contains(q.Raw, "$"+variable) || strings.Contains(q.Raw, "${"+variable)
	})
}

// labelValues takes label_values(selector, label) apart; ok is false for any
// other query.
func (v Variable) labelValues() (selector, label string, ok bool) {
	var text string
	if json.Unmarshal(v.Query, &text) != nil {
		var object struct {
			Query string `json:"query"`
		}
		if json.Unmarshal(v.Query, &object) != nil {
			return "", "", false
		}
		text = object.Query
	}
	groups := regexp.MustCompile(`^label_values\((.+),\s*(\w+)\)$`).FindStringSubmatch(text)
	if groups == nil {
		return "", "", false
	}
	return groups[1], groups[2], true
}

// labelSet has the labels that a result may have; nil when that is not
// known, and then it may have any.
type labelSet map[string]bool

func (s labelSet) has(label string) bool { return s == nil || s[label] }

func (s labelSet) String() string {
	if s == nil {
		return "any"
	}
	return fmt.Sprint(slices.Sorted(maps.Keys(s)))
}

func (s labelSet) and(o labelSet) labelSet {
	if s == nil || o == nil {
		return nil
	}
	both := maps.Clone(s)
	maps.Copy(both, o)
	return both
}

func setOf(names []string) labelSet {
	s := labelSet{}
	for _, name := range names {
		s[name] = true
	}
	return s
}

// answers finds the labels of an expression's answer, and reports those that
// the expression asks for in vain on the way there.
type answers struct {
	metrics series.Known
	bad     *problems
}

func (a answers) labels(expr parser.Expr) labelSet {
	switch e := expr.(type) {
	case *parser.VectorSelector:
		return labelSet(a.metrics[e.Name])
	case *parser.MatrixSelector:
		return a.labels(e.VectorSelector)
	case *parser.ParenExpr:
		return a.labels(e.Expr)
	case *parser.StepInvariantExpr:
		return a.labels(e.Expr)
	case *parser.UnaryExpr:
		return a.labels(e.Expr)
	case *parser.SubqueryExpr:
		return a.labels(e.Expr)
	case *parser.AggregateExpr:
		return a.aggregate(e)
	case *parser.BinaryExpr:
		return a.binary(e)
	case *parser.Call:
		return a.call(e)
	default: // numbers and texts
		return labelSet{}
	}
}

func (a answers) aggregate(e *parser.AggregateExpr) labelSet {
	has := a.labels(e.Expr)
	if e.Op == parser.TOPK || e.Op == parser.BOTTOMK {
		return has
	}
	a.wants(has, e.Grouping, e.Op.String())
	if !e.Without {
		return setOf(e.Grouping)
	}
	left := maps.Clone(has)
	maps.DeleteFunc(left, func(l string, _ bool) bool { return slices.Contains(e.Grouping, l) })
	return left
}

func (a answers) binary(e *parser.BinaryExpr) labelSet {
	left, right := a.labels(e.LHS), a.labels(e.RHS)
	matching := e.VectorMatching
	if matching == nil || e.Op == parser.LOR {
		return left.and(right)
	}
	if matching.On {
		a.wants(left, matching.MatchingLabels, "left of "+e.Op.String())
		a.wants(right, matching.MatchingLabels, "right of "+e.Op.String())
	}
	if matching.Card == parser.CardOneToMany {
		left = right
	}
	return left.and(setOf(matching.Include))
}

func (a answers) call(e *parser.Call) labelSet {
	has := labelSet{}
	for _, argument := range e.Args {
		has = has.and(a.labels(argument))
	}
	switch e.Func.Name {
	case "histogram_quantile":
		a.wants(has, []string{labels.BucketLabel}, e.Func.Name)
		has = maps.Clone(has)
		delete(has, labels.BucketLabel)
		return has
	case "label_join":
		return has.and(labelSet{text(e.Args[1]): true})
	case "label_replace":
		target, source := text(e.Args[1]), text(e.Args[3])
		if source != "" {
			a.wants(has, []string{source}, e.Func.Name)
		}
		return has.and(labelSet{target: true})
	default:
		return has
	}
}

// text returns a literal text; the parser takes nothing else in its place.
func text(expr parser.Expr) string {
	literal, ok := expr.(*parser.StringLiteral)
	if !ok {
		return ""
	}
	return literal.Val
}

func (a answers) wants(has labelSet, wanted []string, where string) {
	for _, label := range wanted {
		if !has.has(label) {
			a.bad.addf("%s asks for the label %s of what has %v", where, label, has)
		}
	}
}
