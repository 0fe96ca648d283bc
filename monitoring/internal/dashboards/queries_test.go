package dashboards_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/vigie-dev/vigie/monitoring/internal/dashboards"
)

func TestQueries(t *testing.T) {
	d, err := dashboards.Parse([]byte(`{
		"title": "D",
		"templating": {"list": [
			{"name": "service", "includeAll": true, "allValue": ".+"},
			{"name": "topic", "includeAll": true},
			{"name": "probes", "current": {"value": "/health"}}
		]},
		"panels": [
			{"type": "row", "panels": [{"title": "in a row", "targets": [{"refId": "A", "expr": "up"}]}]},
			{"title": "P", "fieldConfig": {"defaults": {"noValue": "None"}}, "targets": [{"refId": "B", "instant": true, "legendFormat": "{{x}}",
				"expr": "a{s=~\"$service\",t=~\"${topic:regex}\",r!~\"$probes\"}[$__rate_interval] b[$__range] \"$1\" $other"}]}
		]
	}`))
	if err != nil {
		t.Fatal(err)
	}
	got := dashboards.Queries(d)
	if len(got) != 2 || got[0].Panel != "in a row" || got[0].Expr != "up" || got[0].MayBeEmpty || got[0].Instant {
		t.Fatalf("got %+v", got)
	}
	q := got[1]
	if want := `a{s=~".+",t=~".*",r!~"/health"}[1m] b[15m] "$1" $other`; q.Expr != want {
		t.Errorf("got %s, want %s", q.Expr, want)
	}
	if q.Dashboard != "D" || q.Panel != "P" || q.Ref != "B" || q.Legend != "{{x}}" || !q.Instant || !q.MayBeEmpty {
		t.Errorf("got %+v", q)
	}
}

// Every panel is asked for, and each query is one that Prometheus takes.
func TestQueriesOfShippedDashboards(t *testing.T) {
	for _, d := range shipped(t) {
		queries := dashboards.Queries(d)
		asked := map[string]bool{}
		for _, q := range queries {
			asked[q.Panel] = true
			if _, err := parser.NewParser(parser.Options{}).ParseExpr(q.Expr); err != nil {
				t.Errorf("%s, %s: %v", d.Title, q.Panel, err)
			}
		}
		if len(asked) != len(d.AllPanels()) || len(asked) < 10 {
			t.Errorf("%s: %d of %d panels are asked for", d.Title, len(asked), len(d.AllPanels()))
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	empty := t.TempDir()
	if _, err := dashboards.Load(empty); err == nil {
		t.Error("a folder without dashboards passes")
	}
	for _, text := range []string{`{"title": 1}`, `{} {}`, `{`} {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, "d.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := dashboards.Load(folder); err == nil {
			t.Errorf("%s passes", text)
		}
	}
}
