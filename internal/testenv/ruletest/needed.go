package ruletest

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// needed are the groups without the rules that no alert and no query of a test rests
// on: of hundreds of rules a test is about a few.
func (t Test) needed(groups []rulefmt.RuleGroup) []rulefmt.RuleGroup {
	var asked []*parser.VectorSelector
	alerts := map[string]bool{}
	for _, a := range t.Alerts {
		alerts[a.Name] = true
	}
	for _, q := range t.Queries {
		asked = append(asked, selectors(q.Expr)...)
	}
	keep := map[[2]int]bool{}
	for again := true; again; {
		again = false
		for i, g := range groups {
			for j, rule := range g.Rules {
				if keep[[2]int{i, j}] || !alerts[rule.Alert] && !slices.ContainsFunc(asked, func(s *parser.VectorSelector) bool { return selects(s, rule) }) {
					continue
				}
				keep[[2]int{i, j}], again = true, true
				asked = append(asked, selectors(rule.Expr)...)
			}
		}
	}
	var left []rulefmt.RuleGroup
	for i, g := range groups {
		all := g.Rules
		g.Rules = nil
		for j, rule := range all {
			if keep[[2]int{i, j}] {
				g.Rules = append(g.Rules, rule)
			}
		}
		if g.Rules != nil {
			left = append(left, g)
		}
	}
	return left
}

func selectors(text string) (found []*parser.VectorSelector) {
	expr, err := syntax().ParseExpr(text)
	if err != nil {
		return nil // its evaluation says so
	}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			found = append(found, s)
		}
		return nil
	})
	return found
}

// selects says whether a selector may find what a rule records.
func selects(s *parser.VectorSelector, rule rulefmt.Rule) bool {
	name := rule.Record
	if rule.Alert != "" {
		name = "ALERTS"
	}
	for _, m := range s.LabelMatchers {
		value, fixed := rule.Labels[m.Name]
		switch {
		case m.Name == model.MetricNameLabel:
			if !m.Matches(name) && !strings.HasPrefix(s.Name, name+"_FOR_STATE") {
				return false
			}
		case fixed && !m.Matches(value):
			return false
		}
	}
	return true
}
