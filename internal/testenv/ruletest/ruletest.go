// Package ruletest runs promtool's unit tests of rules without promtool, in the
// process and in milliseconds, so that every change of a rule is tried at once. Only
// tests use it; ruletest.go reads and runs them, needed.go leaves out
// the rules that a test is not about. mutants.go makes rules with one thing wrong, and
// trial.go tries many such changes of an alert on the same tests.
package ruletest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"go.yaml.in/yaml/v3"
)

// File is a file of tests in promtool's format, of which it knows what is used here.
type File struct {
	Path       string         `yaml:"-"`
	RuleFiles  []string       `yaml:"rule_files"`
	Interval   model.Duration `yaml:"evaluation_interval"`
	GroupOrder []string       `yaml:"group_eval_order"`
	Fuzzy      bool           `yaml:"fuzzy_compare"`
	Tests      []Test         `yaml:"tests"`

	// Groups are those of the rule files, in the order in which they are evaluated.
	Groups []rulefmt.RuleGroup `yaml:"-"`
}

// Test is what was measured, and which alerts fire when.
type Test struct {
	Name     string         `yaml:"name"`
	Interval model.Duration `yaml:"interval"`
	Series   []struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	} `yaml:"input_series"`
	Alerts []struct {
		At       model.Duration `yaml:"eval_time"`
		Name     string         `yaml:"alertname"`
		Expected []Alert        `yaml:"exp_alerts"`
	} `yaml:"alert_rule_test"`
	Queries []struct {
		Expr     string         `yaml:"expr"`
		At       model.Duration `yaml:"eval_time"`
		Expected []Sample       `yaml:"exp_samples"`
	} `yaml:"promql_expr_test"`
}

// Alert is one that fires.
type Alert struct {
	Labels      map[string]string `yaml:"exp_labels"`
	Annotations map[string]string `yaml:"exp_annotations"`
}

// Sample is a series' value.
type Sample struct {
	Labels string  `yaml:"labels"`
	Value  float64 `yaml:"value"`
}

func syntax() parser.Parser { return parser.NewParser(parser.Options{}) }

// Load reads a file of tests, and the rules that it names.
func Load(path string) (*File, error) {
	text, err := os.ReadFile(path) //nolint:gosec // of the repository
	if err != nil {
		return nil, fmt.Errorf("read rule tests: %w", err)
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	f := &File{Path: path, Interval: model.Duration(time.Minute)}
	if err := decoder.Decode(f); err != nil {
		return nil, fmt.Errorf("read rule tests %s: %w", path, err)
	}
	for _, name := range f.RuleFiles {
		groups, errs := rulefmt.ParseFile(filepath.Join(filepath.Dir(path), name), false, model.UTF8Validation, syntax(), slog.New(slog.DiscardHandler))
		if err := errors.Join(errs...); err != nil {
			return nil, fmt.Errorf("read rules %s: %w", name, err)
		}
		f.Groups = append(f.Groups, groups.Groups...)
	}
	slices.SortStableFunc(f.Groups, func(a, b rulefmt.RuleGroup) int {
		return cmp.Compare(slices.Index(f.GroupOrder, a.Name), slices.Index(f.GroupOrder, b.Name))
	})
	return f, nil
}

// loader gives the rule manager groups in place of files.
type loader struct {
	groups []rulefmt.RuleGroup
	parser.Parser
}

// Load implements rules.GroupLoader.
func (l loader) Load(string, bool, model.ValidationScheme) (*rulefmt.RuleGroups, []error) {
	return &rulefmt.RuleGroups{Groups: l.groups}, nil
}

// Parse implements rules.GroupLoader.
func (l loader) Parse(query string) (parser.Expr, error) { return l.ParseExpr(query) }

// Run runs one of the file's tests on groups of rules, and returns what is not as
// the test expects.
func (f *File) Run(t Test, groups []rulefmt.RuleGroup) (errs []error) {
	r, err := f.start(t, groups)
	if err != nil {
		return []error{err}
	}
	defer func() { errs = append(errs, wrap("close", r.close())...) }()
	for at := range r.moments() {
		errs = append(errs, r.evaluate(at)...)
		errs = append(errs, r.check(at, r.rules())...)
	}
	for _, q := range t.Queries {
		errs = append(errs, r.query(q.Expr, time.Duration(q.At), q.Expected)...)
	}
	return errs
}

// start loads what a test measures, and the rules that it is about.
func (f *File) start(t Test, groups []rulefmt.RuleGroup) (*run, error) {
	groups = t.needed(groups)
	series := fmt.Sprintf("load %dms\n", time.Duration(t.Interval).Milliseconds())
	for _, s := range t.Series {
		series += fmt.Sprintf("  %s %s\n", s.Series, s.Values)
	}
	suite, err := promqltest.NewLazyLoader(series, promqltest.LazyLoaderOpts{EnableAtModifier: true, EnableNegativeOffset: true, Parser: syntax()})
	if err != nil {
		return nil, fmt.Errorf("load series: %w", err)
	}
	suite.SubqueryInterval = time.Duration(f.Interval)
	manager := rules.NewManager(&rules.ManagerOptions{
		QueryFunc: rules.EngineQueryFunc(suite.QueryEngine(), suite.Storage()), AppendableV2: suite.Storage(), Context: suite.Context(),
		NotifyFunc: func(context.Context, string, ...*rules.Alert) {}, Logger: slog.New(slog.DiscardHandler), Parser: syntax(),
		GroupLoader: loader{groups, syntax()},
	})
	loaded, failed := manager.LoadGroups(time.Duration(t.Interval), labels.EmptyLabels(), "", nil, false, "rules")
	if len(failed) > 0 {
		return nil, errors.Join(append(failed, suite.Close())...)
	}
	r := &run{file: f, test: t, suite: suite}
	for _, g := range groups {
		r.groups = append(r.groups, loaded[rules.GroupKey("rules", g.Name)])
	}
	return r, nil
}

func wrap(what string, err error) []error {
	if err == nil {
		return nil
	}
	return []error{fmt.Errorf("%s: %w", what, err)}
}

// run is a test that is being run.
type run struct {
	file   *File
	test   Test
	suite  *promqltest.LazyLoader
	groups []*rules.Group
}

func (r *run) close() error { return r.suite.Close() }

// last is when the test looks for the last time.
func (r *run) last() (last time.Duration) {
	for _, a := range r.test.Alerts {
		last = max(last, time.Duration(a.At))
	}
	for _, q := range r.test.Queries {
		last = max(last, time.Duration(q.At))
	}
	return last
}

// moments are when rules are evaluated.
func (r *run) moments() iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		last := r.last()
		for at := time.Duration(0); at <= last && yield(at); at += time.Duration(r.file.Interval) {
		}
	}
}

func moment(at time.Duration) time.Time { return time.Unix(0, 0).UTC().Add(at) }

func (r *run) rules() iter.Seq[rules.Rule] {
	return func(yield func(rules.Rule) bool) {
		for _, g := range r.groups {
			for _, rule := range g.Rules() {
				if !yield(rule) {
					return
				}
			}
		}
	}
}

// evaluate has the rules look at what was measured until a moment.
func (r *run) evaluate(at time.Duration) (errs []error) {
	r.suite.WithSamplesTill(moment(at), func(err error) { errs = wrap("load samples", err) })
	for _, g := range r.groups {
		for _, rule := range g.Rules() {
			if alert, ok := rule.(*rules.AlertingRule); ok {
				alert.SetRestored(true) // so that ALERTS is stored
			}
		}
		g.Eval(r.suite.Context(), moment(at))
		for _, rule := range g.Rules() {
			errs = append(errs, wrap(rule.Name(), rule.LastError())...)
		}
	}
	return errs
}

// check compares what fires with what the test expects, from a moment until the next.
func (r *run) check(at time.Duration, all iter.Seq[rules.Rule]) (errs []error) {
	for _, check := range r.test.Alerts {
		if moment := time.Duration(check.At); moment >= at && moment < at+time.Duration(r.file.Interval) {
			errs = append(errs, r.alerts(check.Name, check.At, check.Expected, all)...)
		}
	}
	return errs
}

// alerts compares which instances of an alert fire.
func (r *run) alerts(name string, at model.Duration, expected []Alert, all iter.Seq[rules.Rule]) []error {
	var got, want []string
	for rule := range all {
		alert, ok := rule.(*rules.AlertingRule)
		if !ok || alert.Name() != name {
			continue
		}
		for _, active := range alert.ActiveAlerts() {
			if active.State == rules.StateFiring {
				got = append(got, described(active.Labels, active.Annotations))
			}
		}
	}
	for _, alert := range expected {
		all := labels.NewBuilder(labels.FromMap(alert.Labels)).Set(labels.AlertName, name).Labels()
		want = append(want, described(all, labels.FromMap(alert.Annotations)))
	}
	slices.Sort(got)
	slices.Sort(want)
	if slices.Equal(got, want) {
		return nil
	}
	return []error{fmt.Errorf("%s: %s at %s: fires\n%s\nwant\n%s", r.test.Name, name, at, strings.Join(got, "\n"), strings.Join(want, "\n"))}
}

func described(labels, annotations labels.Labels) string {
	return fmt.Sprintf("  %s\n    %s", labels, annotations)
}

// query compares an expression's series.
func (r *run) query(text string, at time.Duration, expected []Sample) []error {
	query, err := r.suite.QueryEngine().NewInstantQuery(r.suite.Context(), r.suite.Storage(), nil, text, time.Unix(0, 0).UTC().Add(at))
	if err != nil {
		return wrap(text, err)
	}
	defer query.Close()
	result := query.Exec(r.suite.Context())
	if result.Err != nil {
		return wrap(text, result.Err)
	}
	want := map[string]float64{}
	for _, s := range expected {
		set, err := syntax().ParseMetric(s.Labels)
		if err != nil {
			return wrap(text, err)
		}
		want[set.String()] = s.Value
	}
	got := map[string]float64{}
	switch value := result.Value.(type) {
	case promql.Vector:
		for _, s := range value {
			got[s.Metric.String()] = s.F
		}
	case promql.Scalar:
		got[labels.EmptyLabels().String()] = value.V
	}
	same := len(got) == len(want)
	for name, value := range want {
		other, ok := got[name]
		same = same && ok && r.equal(other, value)
	}
	if same {
		return nil
	}
	return []error{fmt.Errorf("%s: %s at %s: %v, want %v", r.test.Name, text, at, got, want)}
}

func (r *run) equal(a, b float64) bool {
	return a == b || math.IsNaN(a) && math.IsNaN(b) || r.file.Fuzzy && (math.Nextafter(a, b) == b || math.Abs(a-b) <= 1e-12*math.Abs(b))
}
