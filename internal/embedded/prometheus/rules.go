package prometheus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"

	"github.com/vigie-dev/vigie/internal/promapi"
)

// makeRules makes the rule manager, without those left out.
func (s *Server) makeRules(cfg *config.Config) error {
	e := s.engine
	loaded, err := loadRules(s.cfg.Files, cfg.RuleFiles, e.syntax)
	if err != nil {
		return err
	}
	exists, err := s.parts(cfg)
	if err != nil {
		return err
	}
	s.leftOut = loaded.leaveOut(exists)
	self, err := url.Parse(s.URL())
	if err != nil {
		return fmt.Errorf("read own address: %w", err)
	}
	var ctx context.Context
	ctx, e.endRules = context.WithCancel(context.Background())
	send := rules.SendAlerts(e.alertmanagers, self.String())
	e.ruler = rules.NewManager(&rules.ManagerOptions{
		NameValidationScheme: model.UTF8Validation, ExternalURL: self, Context: ctx, Logger: e.log, Registerer: e.registry,
		AppendableV2: e.store, Queryable: e.store, QueryFunc: rules.EngineQueryFunc(e.queries, e.store), NotifyFunc: newAlertLog(s.cfg.Log, send).notify,
		OutageTolerance: outageTolerance, ForGracePeriod: forGracePeriod, ResendDelay: resendDelay,
		GroupLoader: loaded, Parser: e.syntax,
	})
	return e.ruler.Update(time.Duration(cfg.GlobalConfig.EvaluationInterval), loaded.names(), cfg.GlobalConfig.ExternalLabels, self.String(), nil)
}

// ruleFiles are the rules of each file; they are a loader of the rule manager's.
type ruleFiles struct {
	groups map[string]*rulefmt.RuleGroups
	syntax parser.Parser
}

// loadRules reads the files that match the patterns.
func loadRules(files fs.FS, patterns []string, syntax parser.Parser) (*ruleFiles, error) {
	loaded := &ruleFiles{groups: map[string]*rulefmt.RuleGroups{}, syntax: syntax}
	for _, pattern := range patterns {
		names, err := fs.Glob(files, pattern)
		if err != nil || len(names) == 0 {
			return nil, fmt.Errorf("find rules %s: %d files, %w", pattern, len(names), err)
		}
		for _, name := range names {
			text, err := fs.ReadFile(files, name)
			if err != nil {
				return nil, fmt.Errorf("read rules: %w", err)
			}
			groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, syntax, slog.New(slog.DiscardHandler))
			if len(errs) > 0 {
				return nil, fmt.Errorf("read rules %s: %w", name, errors.Join(errs...))
			}
			loaded.groups[name] = groups
		}
	}
	return loaded, nil
}

func (f *ruleFiles) names() []string { return slices.Sorted(maps.Keys(f.groups)) }

// Load implements rules.GroupLoader.
func (f *ruleFiles) Load(name string, _ bool, _ model.ValidationScheme) (*rulefmt.RuleGroups, []error) {
	return f.groups[name], nil
}

// Parse implements rules.GroupLoader.
func (f *ruleFiles) Parse(query string) (parser.Expr, error) { return f.syntax.ParseExpr(query) }

// leaveOut takes out the rules that need what does not exist, and what rests on
// them, and says which and why. A rule about a missing part would be green, or
// fire, for ever. Of alternatives (or) those that can be judged stay.
func (f *ruleFiles) leaveOut(exists *parts) []string {
	var alerts, recordings []string
	for again := true; again; {
		again = false
		exists.recorded = f.recorded()
		for _, name := range f.names() {
			for i := range f.groups[name].Groups {
				group := &f.groups[name].Groups[i]
				group.Rules = slices.DeleteFunc(group.Rules, func(r rulefmt.Rule) bool {
					left, missing := f.judge(exists, r.Expr)
					if left != "" {
						return false
					}
					again = true
					if r.Record != "" {
						recordings = append(recordings, fmt.Sprintf("%s: no %s here", r.Record, strings.Join(missing, ", ")))
					} else {
						alerts = append(alerts, fmt.Sprintf("%s: no %s here", r.Alert, strings.Join(missing, ", ")))
					}
					return true
				})
			}
		}
	}
	alerts = append(alerts, f.cut(exists)...)
	slices.Sort(alerts)
	slices.Sort(recordings)
	return append(alerts, recordings...)
}

// cut takes out of the rules that stay what cannot be judged of them.
func (f *ruleFiles) cut(exists *parts) []string {
	var alerts []string
	for _, groups := range f.groups {
		for i := range groups.Groups {
			for j := range groups.Groups[i].Rules {
				r := &groups.Groups[i].Rules[j]
				left, missing := f.judge(exists, r.Expr)
				if len(missing) == 0 {
					continue
				}
				r.Expr = left
				alerts = append(alerts, fmt.Sprintf("%s%s in part: no %s here", r.Alert, r.Record, strings.Join(missing, ", ")))
			}
		}
	}
	return alerts
}

// recorded are the names that the rules record.
func (f *ruleFiles) recorded() map[string]bool {
	names := map[string]bool{}
	for _, groups := range f.groups {
		for _, g := range groups.Groups {
			for _, r := range g.Rules {
				if r.Record != "" {
					names[r.Record] = true
				}
			}
		}
	}
	return names
}

// judge returns what is left of an expression without the alternatives that need
// what does not exist, "" where that is nothing, and what that is. The files'
// expressions have been parsed before.
func (f *ruleFiles) judge(exists *parts, text string) (left string, missing []string) {
	expr, err := f.syntax.ParseExpr(text)
	if err != nil {
		return text, nil
	}
	expr, missing = exists.judge(expr)
	slices.Sort(missing)
	missing = slices.Compact(missing)
	if expr == nil {
		return "", missing
	}
	return expr.String(), missing
}

// parts are what can have series: which metrics there are, and which jobs.
type parts struct {
	metrics  map[string]bool // nil: not known
	recorded map[string]bool
	jobs     []string
}

// parts finds out what a configuration and the services have.
func (s *Server) parts(cfg *config.Config) (*parts, error) {
	p := &parts{jobs: []string{jobServices}}
	for _, job := range cfg.ScrapeConfigs {
		p.jobs = append(p.jobs, job.JobName)
	}
	if s.cfg.Metrics == nil {
		return p, nil
	}
	// What the engine stores of its own account, of every target and every alert.
	p.metrics = map[string]bool{
		"up": true, "scrape_duration_seconds": true, "scrape_samples_scraped": true, "scrape_samples_post_metric_relabeling": true,
		"scrape_series_added": true, "ALERTS": true, "ALERTS_FOR_STATE": true,
	}
	for _, name := range s.cfg.Metrics {
		p.add(name)
	}
	own, err := client.Gatherers{s.engine.registry, s.engine.store.registry}.Gather() // the Go runtime's and the process's are every service's
	if err != nil {
		return nil, fmt.Errorf("list own metrics: %w", err)
	}
	for _, family := range own {
		p.add(family.GetName())
	}
	return p, nil
}

func (p *parts) add(name string) {
	for _, suffix := range []string{"", "_bucket", "_count", "_sum"} {
		p.metrics[name+suffix] = true
	}
}

// judge returns an expression without the alternatives of which a selector can
// find nothing, nil where that leaves nothing, and what these selectors lack.
func (p *parts) judge(expr parser.Expr) (left parser.Expr, missing []string) {
	switch e := expr.(type) {
	case *parser.VectorSelector:
		if lacks := p.lacks(e); lacks != "" {
			return nil, []string{lacks}
		}
		return e, nil
	case *parser.ParenExpr:
		if e.Expr, missing = p.judge(e.Expr); e.Expr == nil {
			return nil, missing
		}
		return e, missing
	case *parser.BinaryExpr:
		lhs, missing := p.judge(e.LHS)
		rhs, more := p.judge(e.RHS)
		missing = append(missing, more...)
		switch {
		case lhs != nil && rhs != nil:
			e.LHS, e.RHS = lhs, rhs
			return e, missing
		case e.Op == parser.LOR && lhs != nil:
			return lhs, missing
		case e.Op == parser.LOR && rhs != nil:
			return rhs, missing
		default:
			return nil, missing
		}
	}
	for _, child := range parser.Children(expr) {
		if inner, ok := child.(parser.Expr); ok {
			kept, without := p.judge(inner)
			if missing = append(missing, without...); kept == nil {
				return nil, missing
			}
		}
	}
	return expr, missing
}

// lacks says why a selector can find nothing, "" where it can find something.
func (p *parts) lacks(selector *parser.VectorSelector) string {
	var ofJob []*labels.Matcher
	name := selector.Name
	for _, m := range selector.LabelMatchers {
		switch {
		case m.Name == model.JobLabel:
			ofJob = append(ofJob, m)
		case m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual:
			name = m.Value
		}
	}
	if !slices.ContainsFunc(p.jobs, func(job string) bool {
		return !slices.ContainsFunc(ofJob, func(m *labels.Matcher) bool { return !m.Matches(job) })
	}) {
		return selector.String()
	}
	if name == "" || p.metrics == nil || p.metrics[name] || p.recorded[name] || strings.HasPrefix(name, "prometheus_") ||
		strings.HasPrefix(name, "alertmanager_") && slices.Contains(p.jobs, jobAlertmanagers) {
		return ""
	}
	return name
}

// alertLog writes a line when an alert fires and one when it resolves, on the way
// to the Alertmanagers, which are told of it again and again.
type alertLog struct {
	log  *slog.Logger
	next rules.NotifyFunc

	mu     sync.Mutex
	firing map[string]bool // by the alert's labels
}

func newAlertLog(log *slog.Logger, next rules.NotifyFunc) *alertLog {
	return &alertLog{log: log, next: next, firing: map[string]bool{}}
}

// notify is a rules.NotifyFunc.
func (l *alertLog) notify(ctx context.Context, expr string, alerts ...*rules.Alert) {
	for _, a := range alerts {
		if a.Labels.Get("severity") != promapi.SeverityNone && l.changed(a) {
			l.write(ctx, a)
		}
	}
	l.next(ctx, expr, alerts...)
}

// changed says whether an alert has just begun or ended.
func (l *alertLog) changed(a *rules.Alert) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key, fires := a.Labels.String(), a.ResolvedAt.IsZero()
	if l.firing[key] == fires {
		return false
	}
	if fires {
		l.firing[key] = true
	} else {
		delete(l.firing, key)
	}
	return true
}

// write logs an alert, as urgent as its severity.
func (l *alertLog) write(ctx context.Context, a *rules.Alert) {
	attributes := []any{
		"alert", a.Labels.Get("alertname"), "severity", a.Labels.Get("severity"),
		"summary", a.Annotations.Get("summary"), "runbook", a.Annotations.Get("runbook_url"),
	}
	switch {
	case !a.ResolvedAt.IsZero():
		l.log.InfoContext(ctx, "alert resolved", append(attributes, "after", a.ResolvedAt.Sub(a.FiredAt).Round(time.Second))...)
	case a.Labels.Get("severity") == "critical":
		l.log.ErrorContext(ctx, "alert firing", attributes...)
	default:
		l.log.WarnContext(ctx, "alert firing", attributes...)
	}
}
