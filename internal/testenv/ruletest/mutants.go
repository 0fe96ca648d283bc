package ruletest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// Mutant is a rule with one thing changed. Where its tests pass all the same, they do
// not say what that thing is for.
type Mutant struct {
	// Change says what was changed, in words that no other mutant of the rule has.
	Change string
	Rule   rulefmt.Rule
}

// Mutants returns the rule with each operator, number, matcher, list of labels, range
// and length of time changed, one at a time.
func Mutants(rule rulefmt.Rule) ([]Mutant, error) {
	expr, err := syntax().ParseExpr(rule.Expr)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", rule.Alert, err)
	}
	m := &mutation{rule: rule, expr: expr, names: map[string]int{}, texts: map[string]bool{expr.String(): true}}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		m.node(node)
		return nil
	})
	m.lengths("for", rule.For, func(r *rulefmt.Rule, d model.Duration) { r.For = d })
	m.lengths("keep_firing_for", rule.KeepFiringFor, func(r *rulefmt.Rule, d model.Duration) { r.KeepFiringFor = d })
	return m.all, nil
}

// mutation is the making of a rule's mutants.
type mutation struct {
	rule  rulefmt.Rule
	expr  parser.Expr
	all   []Mutant
	names map[string]int
	texts map[string]bool // expressions that there are already
}

// add adds a mutant; its name says which of several that are alike it is.
func (m *mutation) add(change string, rule rulefmt.Rule) {
	if m.names[change]++; m.names[change] > 1 {
		change = fmt.Sprintf("%s #%d", change, m.names[change])
	}
	m.all = append(m.all, Mutant{change, rule})
}

// set adds the mutant in which something in the expression has another value.
func set[T any](m *mutation, change string, at *T, value T) {
	old := *at
	*at = value
	text := m.expr.String()
	*at = old
	if m.texts[text] {
		return
	}
	m.texts[text] = true
	rule := m.rule
	rule.Expr = text
	m.add(change, rule)
}

func (m *mutation) node(node parser.Node) {
	switch n := node.(type) {
	case *parser.NumberLiteral:
		values := []float64{2 * n.Val, n.Val / 2}
		if n.Val == 0 {
			values = []float64{1}
		}
		for _, value := range values {
			set(m, fmt.Sprintf("%g → %g", n.Val, value), &n.Val, value)
		}
	case *parser.BinaryExpr:
		m.binary(n)
	case *parser.AggregateExpr:
		m.aggregate(n)
	case *parser.VectorSelector:
		for i := range n.LabelMatchers {
			m.matcher(n, i)
		}
		m.duration("offset", &n.OriginalOffset)
	case *parser.MatrixSelector:
		m.duration(short(n.VectorSelector), &n.Range)
	case *parser.SubqueryExpr:
		m.duration("subquery", &n.Range)
	}
}

// duration doubles and halves a range.
func (m *mutation) duration(of string, at *time.Duration) {
	if *at == 0 {
		return
	}
	for _, d := range []time.Duration{2 * *at, *at / 2} {
		set(m, fmt.Sprintf("%s [%s → %s]", of, model.Duration(*at), model.Duration(d)), at, d)
	}
}

// operators are what each may be mistaken for.
func operators(op parser.ItemType) []parser.ItemType {
	return map[parser.ItemType][]parser.ItemType{
		parser.GTR: {parser.GTE, parser.LSS}, parser.GTE: {parser.GTR, parser.LSS},
		parser.LSS: {parser.LTE, parser.GTR}, parser.LTE: {parser.LSS, parser.GTR},
		parser.EQLC: {parser.NEQ}, parser.NEQ: {parser.EQLC},
		parser.ADD: {parser.SUB}, parser.SUB: {parser.ADD}, parser.MUL: {parser.DIV}, parser.DIV: {parser.MUL},
		parser.LAND: {parser.LUNLESS}, parser.LUNLESS: {parser.LAND},
		parser.MAX: {parser.MIN}, parser.MIN: {parser.MAX}, parser.SUM: {parser.MAX},
	}[op]
}

func (m *mutation) binary(n *parser.BinaryExpr) {
	for _, op := range operators(n.Op) {
		set(m, fmt.Sprintf("%s → %s %s", n.Op, op, short(n.RHS)), &n.Op, op)
	}
	if n.Op.IsSetOperator() {
		// "a or a" is a.
		left, right := *n, *n
		left.Op, left.RHS = parser.LOR, n.LHS
		set(m, fmt.Sprintf("without: … %s %s", n.Op, short(n.RHS)), n, left)
		if right.LHS = n.RHS; n.Op == parser.LOR {
			set(m, fmt.Sprintf("without: %s %s …", short(n.LHS), n.Op), n, right)
		}
	}
	if v := n.VectorMatching; v != nil && (v.On || len(v.MatchingLabels) > 0) {
		m.labels(map[bool]string{true: "on", false: "ignoring"}, &v.On, &v.MatchingLabels)
	}
}

func (m *mutation) aggregate(n *parser.AggregateExpr) {
	for _, op := range operators(n.Op) {
		set(m, fmt.Sprintf("%s → %s of %s", n.Op, op, short(n.Expr)), &n.Op, op)
	}
	m.labels(map[bool]string{false: "by", true: "without"}, &n.Without, &n.Grouping)
}

// labels turns a list of labels round, and leaves each of them out.
func (m *mutation) labels(words map[bool]string, way *bool, list *[]string) {
	old := fmt.Sprintf("%s (%s) → ", words[*way], strings.Join(*list, ", "))
	if len(*list) > 0 || words[false] == "ignoring" {
		set(m, old+words[!*way], way, !*way)
	}
	for i, label := range *list {
		set(m, old+"without "+label, list, slices.Delete(slices.Clone(*list), i, i+1))
	}
}

// matcher turns a matcher round, gives it another value, leaves out each of its
// alternatives, and leaves it out.
func (m *mutation) matcher(s *parser.VectorSelector, i int) {
	matcher := s.LabelMatchers[i]
	if matcher.Name == model.MetricNameLabel {
		return
	}
	opposite := map[labels.MatchType]labels.MatchType{
		labels.MatchEqual: labels.MatchNotEqual, labels.MatchNotEqual: labels.MatchEqual,
		labels.MatchRegexp: labels.MatchNotRegexp, labels.MatchNotRegexp: labels.MatchRegexp,
	}
	other := func(kind labels.MatchType, value string) {
		changed := labels.MustNewMatcher(kind, matcher.Name, value)
		set(m, fmt.Sprintf("%s{%s → %s}", s.Name, matcher, changed), &s.LabelMatchers[i], changed)
	}
	other(opposite[matcher.Type], matcher.Value)
	other(matcher.Type, matcher.Value+"x")
	if alternatives := strings.Split(matcher.Value, "|"); matcher.Type >= labels.MatchRegexp && len(alternatives) > 1 {
		for j := range alternatives {
			other(matcher.Type, strings.Join(slices.Delete(slices.Clone(alternatives), j, j+1), "|"))
		}
	}
	set(m, fmt.Sprintf("%s{without %s}", s.Name, matcher), &s.LabelMatchers, slices.Delete(slices.Clone(s.LabelMatchers), i, i+1))
}

// lengths leaves out, doubles and halves how long a rule waits.
func (m *mutation) lengths(what string, length model.Duration, to func(*rulefmt.Rule, model.Duration)) {
	if length == 0 {
		return
	}
	for _, d := range []model.Duration{0, 2 * length, length / 2} {
		rule := m.rule
		to(&rule, d)
		m.add(fmt.Sprintf("%s: %s → %s", what, length, d), rule)
	}
}

// short is an expression's text, or the ends of it.
func short(expr parser.Expr) string {
	text := []rune(expr.String())
	if len(text) <= 60 {
		return string(text)
	}
	return string(text[:30]) + "…" + string(text[len(text)-25:])
}
