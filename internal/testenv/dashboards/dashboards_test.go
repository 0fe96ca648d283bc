package dashboards_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/dashboards"
	"github.com/vigie-dev/vigie/internal/testenv/repo"
	"github.com/vigie-dev/vigie/internal/testenv/series"
)

// sound is a small dashboard without a fault.
const sound = `{
	"uid": "a", "title": "A", "description": "What it shows.", "tags": ["x"], "refresh": "5s",
	"links": [
		{"type": "dashboards", "title": "all", "tags": ["x"]},
		{"type": "link", "title": "rules", "url": "https://github.com/vigie-dev/vigie/tree/main/monitoring/rules"}
	],
	"templating": {"list": [
		{"name": "datasource", "label": "Data", "description": "Which.", "type": "datasource", "query": "prometheus"},
		{"name": "service", "label": "Service", "description": "Which.", "type": "query",
			"datasource": {"type": "prometheus", "uid": "${datasource}"}, "includeAll": true,
			"query": {"query": "label_values(up, service)"}}
	]},
	"panels": [
		{"id": 1, "type": "row", "title": "Row", "gridPos": {"x": 0, "y": 0, "w": 24, "h": 1}},
		{"id": 2, "type": "timeseries", "title": "Time", "description": "How long.",
			"gridPos": {"x": 0, "y": 1, "w": 12, "h": 8}, "datasource": {"type": "prometheus", "uid": "${datasource}"},
			"targets": [{"refId": "A", "exemplar": true, "legendFormat": "{{topic}}",
				"expr": "histogram_quantile(0.9, sum by (le, topic) (rate(kafka_message_processing_duration_seconds_bucket{service=~\"$service\"}[$__rate_interval])))"}],
			"fieldConfig": {"defaults": {"unit": "s", "thresholds": {"mode": "absolute", "steps": [{"color": "green", "value": null}, {"color": "red", "value": 1}]},
				"links": [{"title": "self", "url": "/d/a?x"}]}, "overrides": []}}
	]
}`

func check(t *testing.T, m series.Known, texts ...string) string {
	t.Helper()
	var all []dashboards.Dashboard
	for _, text := range texts {
		d, err := dashboards.Parse([]byte(text))
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		all = append(all, d)
	}
	err := dashboards.Check(all, m, repo.Path(t))
	if err == nil {
		return ""
	}
	return err.Error()
}

// Each fault, put into the dashboard above, is named; without any it passes.
func TestCheckNamesEachFault(t *testing.T) {
	m, err := series.Load(repo.Path(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := check(t, m, sound); got != "" {
		t.Fatalf("a sound dashboard: %s", got)
	}
	if !json.Valid([]byte(sound)) {
		t.Fatal("the sample is no JSON")
	}
	for name, tt := range map[string]struct{ from, to, want string }{
		"id twice":             {`"id": 2`, `"id": 1`, "has the id 1"},
		"overlap":              {`"y": 1, "w": 12`, `"y": 0, "w": 12`, "overlaps"},
		"outside the grid":     {`"w": 12`, `"w": 25`, "outside the grid"},
		"no uid":               {`"uid": "a"`, `"uid": ""`, "uid"},
		"no refresh":           {`"refresh": "5s"`, `"refresh": ""`, "refresh"},
		"no description":       {`"description": "How long."`, `"description": ""`, "no description"},
		"description cut off":  {`"description": "How long."`, `"description": "How long"`, "in sentences"},
		"no unit":              {`"unit": "s", `, ``, `unit "" is not known`},
		"unknown unit":         {`"unit": "s"`, `"unit": "secs"`, `unit "secs" is not known`},
		"unknown field's unit": {`"overrides": []`, `"overrides": [{"properties": [{"id": "unit", "value": "secs"}]}]`, `unit "secs" is not known`},
		"no thresholds":        {`{"color": "green", "value": null}, {"color": "red", "value": 1}`, ``, "thresholds"},
		"thresholds fall":      {`{"color": "red", "value": 1}`, `{"color": "red", "value": 1}, {"color": "red", "value": 0}`, "thresholds"},
		"data source by uid":   {`"h": 8}, "datasource": {"type": "prometheus", "uid": "${datasource}"}`, `"h": 8}, "datasource": {"type": "prometheus", "uid": "prometheus"}`, "data source"},
		"no choice of source":  {`"type": "datasource", "query": "prometheus"`, `"type": "datasource", "query": "loki"`, "no variable chooses"},
		"syntax":               {`sum by (le, topic) (`, `sum by (le, topic) ((`, "parse"},
		"unknown metric":       {`kafka_message_processing_duration_seconds_bucket{`, `kafka_processing_bucket{`, "no such metric"},
		"unknown label":        {`{service=~`, `{servcie=~`, "no label servcie"},
		"unknown grouping":     {`(le, topic)`, `(le, topic, route)`, "asks for the label route"},
		"quantile without le":  {`(le, topic)`, `(topic)`, "asks for the label le"},
		"unknown in legend":    {`{{topic}}`, `{{partition}}`, "legend's label partition"},
		"fixed rate":           {`[$__rate_interval]`, `[5m]`, "not [$__rate_interval]"},
		"unknown variable":     {`\"$service\"}`, `\"$service\"} * $factor`, "parse"},
		"unused variable":      {`\"$service\"}`, `\"paiement\"}`, "uses the variable service"},
		"variable's metric":    {`label_values(up, `, `label_values(ups, `, "no such metric"},
		"variable's label":     {`label_values(up, service)`, `label_values(up, topic)`, "has no label topic"},
		"no exemplars":         {`"exemplar": true, `, ``, "no exemplars"},
		"sum of one process":   {`"expr": "`, `"expr": "sum(go_goroutines) + `, "go_goroutines is summed"},
		"no such dashboard":    {`/d/a?x`, `/d/b?x`, "b, which is no dashboard"},
		"no such file":         {`tree/main/monitoring/rules`, `blob/main/monitoring/rulez`, "no such file"},
		"strange link":         {`https://github.com/vigie-dev/vigie/tree`, `http://example.com`, "out of the repository"},
		"no such tag":          {`"tags": ["x"]}`, `"tags": ["y"]}`, "leads to 0 of 1"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(sound, tt.from) {
				t.Fatalf("the sample has no %s", tt.from)
			}
			if got := check(t, m, strings.Replace(sound, tt.from, tt.to, 1)); !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q in it", got, tt.want)
			}
		})
	}
	if got := check(t, m, sound, sound); !strings.Contains(got, `uid "a"`) {
		t.Errorf("one uid twice: %q", got)
	}
}

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
