package dashboards_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/vigie-dev/vigie/monitoring/internal/known"
)

// The list of firing alerts leads from each alert that there is to the runbook
// that the alert's rule names: a series ALERTS has no annotations, so that the
// query works the page out from the alert's name.
func TestFiringAlertsLeadToTheirRunbooks(t *testing.T) {
	expr, link := alertList(t)
	files, err := filepath.Glob(monitoring + "/rules/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of rules, %v", len(files), err)
	}
	alerts := 0
	for _, file := range files {
		groups, err := known.Rules(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range groups.Groups {
			for _, rule := range group.Rules {
				if rule.Alert == "" {
					continue
				}
				alerts++
				if got, want := strings.ReplaceAll(link, "${__data.fields.Runbook}", runbook(expr, rule.Alert)), rule.Annotations["runbook_url"]; got != want {
					t.Errorf("%s leads to %s, its rule says %s", rule.Alert, got, want)
				}
			}
		}
	}
	if alerts == 0 {
		t.Error("the rules have no alerts")
	}
}

// alertList returns the query and the link of the list of firing alerts.
func alertList(t *testing.T) (parser.Expr, string) {
	t.Helper()
	for _, d := range shipped(t) {
		for _, p := range d.AllPanels() {
			if p.Title != "Alerts that fire now" {
				continue
			}
			expr, err := parser.NewParser(parser.Options{}).ParseExpr(p.Targets[0].Expr)
			if err != nil {
				t.Fatal(err)
			}
			links, err := p.Links()
			if err != nil || len(links) != 1 {
				t.Fatalf("links %v, %v", links, err)
			}
			return expr, links[0].URL
		}
	}
	t.Fatal("no dashboard lists the alerts that fire")
	return nil, ""
}

// runbook applies the query's label_replace to an alert's name, the innermost
// first, as Prometheus does: a pattern that does not match changes nothing.
func runbook(expr parser.Expr, alert string) string {
	page := ""
	var replace []*parser.Call
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if call, ok := node.(*parser.Call); ok && call.Func.Name == "label_replace" {
			replace = append([]*parser.Call{call}, replace...)
		}
		return nil
	})
	for _, call := range replace {
		argument := func(i int) string { return call.Args[i].(*parser.StringLiteral).Val }
		pattern := regexp.MustCompile("^(?s:" + argument(4) + ")$")
		if match := pattern.FindStringSubmatchIndex(alert); match != nil && argument(1) == "runbook" {
			page = string(pattern.ExpandString(nil, argument(2), alert, match))
		}
	}
	return page
}
