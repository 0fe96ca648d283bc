package dashboards

import (
	"fmt"
	"maps"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/vigie-dev/vigie/monitoring/internal/known"
)

// labelSet holds the labels that an answer may have; nil when that is not
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
	metrics known.Metrics
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
