package known

import (
	"errors"
	"fmt"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Check parses an expression and reports each series in it that nobody has, and
// each label that a series is selected by and lacks.
func (m Metrics) Check(expression string) error {
	selectors, err := parse(expression)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range selectors {
		errs = append(errs, m.selector(s))
	}
	return errors.Join(errs...)
}

// Selected returns the names of the series that an expression selects.
func Selected(expression string) ([]string, error) {
	selectors, err := parse(expression)
	if err != nil {
		return nil, err
	}
	all := make([]string, len(selectors))
	for i, s := range selectors {
		all[i] = name(s)
	}
	return all, nil
}

// parse returns an expression's selectors.
func parse(expression string) ([]*parser.VectorSelector, error) {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		return nil, fmt.Errorf("parse %q: %w", expression, err)
	}
	var selectors []*parser.VectorSelector
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			selectors = append(selectors, selector)
		}
		return nil
	})
	return selectors, nil
}

// name is the metric that a selector selects, or "".
func name(s *parser.VectorSelector) string {
	for _, matcher := range s.LabelMatchers {
		if matcher.Name == model.MetricNameLabel && matcher.Type == labels.MatchEqual {
			return matcher.Value
		}
	}
	return s.Name
}

func (m Metrics) selector(s *parser.VectorSelector) error {
	name := name(s)
	if name == "" {
		return fmt.Errorf("%s: selects by no metric's name", s)
	}
	have, ok := m[name]
	if !ok {
		return fmt.Errorf("%s: no such metric", name)
	}
	var errs []error
	for _, matcher := range s.LabelMatchers {
		if have != nil && !have[matcher.Name] {
			errs = append(errs, fmt.Errorf("%s: no label %s", name, matcher.Name))
		}
	}
	return errors.Join(errs...)
}
