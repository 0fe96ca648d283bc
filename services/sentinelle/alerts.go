package sentinelle

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
)

// Alert is one that fires, or will unless what it is about ends.
type Alert struct {
	Name        string            `json:"name"`
	State       string            `json:"state"` // firing or pending
	Severity    string            `json:"severity"`
	Summary     string            `json:"summary"`
	Description string            `json:"description"`
	Runbook     string            `json:"runbook"` // its name, "" for none
	Since       time.Time         `json:"since"`
	Labels      map[string]string `json:"labels"`
}

// Rule is an alert's rule.
type Rule struct {
	Name     string    `json:"name"`
	Group    string    `json:"group"`
	Severity string    `json:"severity"`
	Runbook  string    `json:"runbook"`
	State    string    `json:"state"` // firing, pending, inactive, or unknown
	Error    string    `json:"error,omitempty"`
	Looked   time.Time `json:"lastEvaluation"`
}

// alarms are the rules and what they say at one moment.
type alarms struct {
	Rules  []Rule  `json:"rules"`
	Alerts []Alert `json:"alerts"`
}

func askAlarms(ctx context.Context, from prometheus) (alarms, error) {
	groups, err := from.Rules(ctx)
	if err != nil {
		return alarms{}, err
	}
	var all alarms
	for _, group := range groups {
		for _, any := range group.Rules {
			if rule, ok := any.(v1.AlertingRule); ok {
				all.add(group.Name, rule)
			}
		}
	}
	slices.SortStableFunc(all.Alerts, func(a, b Alert) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.Name, b.Name), a.Since.Compare(b.Since))
	})
	return all, nil
}

func (a *alarms) add(group string, rule v1.AlertingRule) {
	severity := string(rule.Labels["severity"])
	r := Rule{
		Name: rule.Name, Group: group, Severity: severity, State: rule.State, Looked: rule.LastEvaluation,
		Runbook: runbookOf(string(rule.Annotations["runbook_url"])),
	}
	if rule.Health == v1.RuleHealthBad {
		r.State, r.Error = "unknown", rule.LastError
	}
	if rule.LastEvaluation.IsZero() {
		r.State = "unknown"
	}
	a.Rules = append(a.Rules, r)
	for _, active := range rule.Alerts {
		labels := map[string]string{}
		for name, value := range active.Labels {
			labels[string(name)] = string(value)
		}
		a.Alerts = append(a.Alerts, Alert{
			Name: rule.Name, State: string(active.State), Severity: cmp.Or(labels["severity"], severity),
			Summary: string(active.Annotations["summary"]), Description: string(active.Annotations["description"]),
			Runbook: runbookOf(string(active.Annotations["runbook_url"])), Since: active.ActiveAt, Labels: labels,
		})
	}
}

// Firing says whether it does, and not only may soon.
func (a Alert) Firing() bool { return a.State == string(v1.AlertStateFiring) }

// rank sorts what matters most first.
func (a Alert) rank() int {
	switch {
	case a.Firing() && a.Severity == "critical":
		return 0
	case a.Firing():
		return 1
	default:
		return 2
	}
}

// runbookOf is the name of the runbook that an address leads to.
func runbookOf(address string) string {
	name, found := strings.CutSuffix(path.Base(address), ".md")
	if !found {
		return ""
	}
	return name
}

// firing counts those that fire.
func (a alarms) firing() (n int) {
	for _, alert := range a.Alerts {
		if alert.Firing() {
			n++
		}
	}
	return n
}
