package ruletest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"
)

// Trial is a test of one alert with what it measures and what the rules record of it
// there for all of its time: a change of the alert is tried by one query.
type Trial struct{ run *run }

// Prepare makes a test ready for changes of an alert. It returns nil where the test is
// not about it. [Trial.Close] has to follow.
func (f *File) Prepare(t Test, alert string) (*Trial, error) {
	t.Queries = nil
	all := t.Alerts
	t.Alerts = nil
	for _, check := range all {
		if check.Name == alert {
			t.Alerts = append(t.Alerts, check)
		}
	}
	if t.Alerts == nil {
		return nil, nil //nolint:nilnil // as documented
	}
	r, err := f.start(t, f.Groups)
	if err != nil {
		return nil, err
	}
	for at := range r.moments() {
		if errs := r.evaluate(at); len(errs) > 0 {
			return nil, errors.Join(fmt.Errorf("%s: %w", t.Name, errs[0]), r.close())
		}
	}
	return &Trial{r}, nil
}

// Close gives back what the trial holds.
func (t *Trial) Close() error { return t.run.close() }

// Try says what is not as the test expects where the alert is another one.
func (t *Trial) Try(rule rulefmt.Rule) []error {
	expr, err := syntax().ParseExpr(rule.Expr)
	if err != nil {
		return wrap("parse", err)
	}
	alert := rules.NewAlertingRule(rule.Alert, expr, time.Duration(rule.For), time.Duration(rule.KeepFiringFor),
		labels.FromMap(rule.Labels), labels.FromMap(rule.Annotations), labels.EmptyLabels(), "", true, slog.New(slog.DiscardHandler))
	values, err := t.values(expr.String())
	if err != nil {
		return wrap(rule.Expr, err)
	}
	engine := rules.EngineQueryFunc(t.run.suite.QueryEngine(), t.run.suite.Storage())
	ask := func(ctx context.Context, text string, at time.Time) (promql.Vector, error) {
		if text == expr.String() {
			return values[at.UnixMilli()], nil
		}
		return engine(ctx, text, at) // of an annotation
	}
	for at := range t.run.moments() {
		if _, err := alert.Eval(t.run.suite.Context(), 0, moment(at), ask, nil, 0); err != nil {
			return wrap(rule.Alert, err)
		}
		if errs := t.run.check(at, slices.Values([]rules.Rule{alert})); len(errs) > 0 {
			return errs
		}
	}
	return nil
}

// values are those of an expression at every moment of the test.
func (t *Trial) values(text string) (map[int64]promql.Vector, error) {
	run := t.run
	query, err := run.suite.QueryEngine().NewRangeQuery(run.suite.Context(), run.suite.Storage(), nil, text, moment(0), moment(run.last()), time.Duration(run.file.Interval))
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller names the expression
	}
	defer query.Close()
	matrix, err := query.Exec(run.suite.Context()).Matrix()
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller names the expression
	}
	all := map[int64]promql.Vector{}
	for _, series := range matrix {
		for _, point := range series.Floats {
			all[point.T] = append(all[point.T], promql.Sample{T: point.T, F: point.F, Metric: series.Metric})
		}
	}
	return all, nil
}
