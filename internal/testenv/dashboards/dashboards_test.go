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
		{"type": "link", "title": "rules", "url": "https://github.com/vigie-dev/vigie/tree/main/monitoring/rules"},
		{"type": "link", "title": "traces", "url": "/explore?schemaVersion=1&panes={%22a%22:{%22datasource%22:%22jaeger%22,%22queries%22:[{%22datasource%22:{%22uid%22:%22jaeger%22}}],%22range%22:{%22from%22:%22x%22}}}"},
		{"type": "link", "title": "logs", "url": "/explore?schemaVersion=1&panes={%22a%22:{%22datasource%22:%22elasticsearch%22,%22queries%22:[{%22datasource%22:{%22uid%22:%22elasticsearch%22}}],%22range%22:{%22from%22:%22x%22}}}"}
	],
	"annotations": {"list": [
		{"name": "Starts", "datasource": {"type": "prometheus", "uid": "${datasource}"}, "iconColor": "#56B4E9",
			"expr": "max by (service) (process_start_time_seconds) * 1000", "useValueForTime": true}
	]},
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
			"fieldConfig": {"defaults": {"unit": "s", "thresholds": {"mode": "absolute", "steps": [{"color": "#8C8C8C", "value": null}, {"color": "#009E73", "value": 1}]},
				"color": {"mode": "shades", "fixedColor": "#56B4E9"}, "noValue": "unknown",
				"links": [{"title": "self", "url": "/d/a?x"}]}, "overrides": []}},
		{"id": 3, "type": "table", "title": "Alerts", "description": "Which fire.",
			"gridPos": {"x": 12, "y": 1, "w": 12, "h": 8}, "datasource": {"type": "prometheus", "uid": "${datasource}"},
			"targets": [{"refId": "A", "instant": true, "expr": "ALERTS"}],
			"transformations": [{"id": "organize", "options": {"renameByName": {"alertname": "Alert"}}}],
			"fieldConfig": {"defaults": {"unit": "none", "thresholds": {"mode": "absolute", "steps": [{"color": "#8C8C8C", "value": null}]},
				"noValue": "No alert fires", "links": [{"title": "self", "url": "/d/a"}]},
				"overrides": [{"matcher": {"id": "byName", "options": "Alert"}, "properties": [{"id": "custom.width", "value": 400}]}]}},
		{"id": 4, "type": "row", "title": "More", "collapsed": true, "gridPos": {"x": 0, "y": 9, "w": 24, "h": 1}}
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
		"id twice":                {`"id": 2`, `"id": 1`, "has the id 1"},
		"overlap":                 {`"y": 1, "w": 12`, `"y": 0, "w": 12`, "overlaps"},
		"outside the grid":        {`"w": 12`, `"w": 25`, "outside the grid"},
		"no uid":                  {`"uid": "a"`, `"uid": ""`, "uid"},
		"no refresh":              {`"refresh": "5s"`, `"refresh": ""`, "refresh"},
		"no description":          {`"description": "How long."`, `"description": ""`, "no description"},
		"description cut off":     {`"description": "How long."`, `"description": "How long"`, "in sentences"},
		"no unit":                 {`"unit": "s", `, ``, `unit "" is not known`},
		"unknown unit":            {`"unit": "s"`, `"unit": "secs"`, `unit "secs" is not known`},
		"unknown field's unit":    {`"overrides": []`, `"overrides": [{"properties": [{"id": "unit", "value": "secs"}]}]`, `unit "secs" is not known`},
		"no thresholds":           {`{"color": "#8C8C8C", "value": null}, {"color": "#009E73", "value": 1}`, ``, "thresholds"},
		"thresholds fall":         {`{"color": "#009E73", "value": 1}`, `{"color": "#009E73", "value": 1}, {"color": "#009E73", "value": 0}`, "thresholds"},
		"data source by uid":      {`"h": 8}, "datasource": {"type": "prometheus", "uid": "${datasource}"}`, `"h": 8}, "datasource": {"type": "prometheus", "uid": "prometheus"}`, "data source"},
		"no choice of source":     {`"type": "datasource", "query": "prometheus"`, `"type": "datasource", "query": "loki"`, "no variable chooses"},
		"syntax":                  {`sum by (le, topic) (`, `sum by (le, topic) ((`, "parse"},
		"unknown metric":          {`kafka_message_processing_duration_seconds_bucket{`, `kafka_processing_bucket{`, "no such metric"},
		"unknown label":           {`{service=~`, `{servcie=~`, "no label servcie"},
		"unknown grouping":        {`(le, topic)`, `(le, topic, route)`, "asks for the label route"},
		"quantile without le":     {`(le, topic)`, `(topic)`, "asks for the label le"},
		"unknown in legend":       {`{{topic}}`, `{{partition}}`, "legend's label partition"},
		"fixed rate":              {`[$__rate_interval]`, `[5m]`, "not [$__rate_interval]"},
		"unknown variable":        {`\"$service\"}`, `\"$service\"} * $factor`, "parse"},
		"unused variable":         {`\"$service\"}`, `\"paiement\"}`, "uses the variable service"},
		"variable's metric":       {`label_values(up, `, `label_values(ups, `, "no such metric"},
		"variable's label":        {`label_values(up, service)`, `label_values(up, topic)`, "has no label topic"},
		"no exemplars":            {`"exemplar": true, `, ``, "no exemplars"},
		"sum of one process":      {`"expr": "`, `"expr": "sum(go_goroutines) + `, "go_goroutines is summed"},
		"no such dashboard":       {`/d/a?x`, `/d/b?x`, "b, which is no dashboard"},
		"no such file":            {`tree/main/monitoring/rules`, `blob/main/monitoring/rulez`, "no such file"},
		"strange link":            {`https://github.com/vigie-dev/vigie/tree`, `http://example.com`, "out of the repository"},
		"no such tag":             {`"tags": ["x"]}`, `"tags": ["y"]}`, "leads to 0 of 1"},
		"no such source":          {`{%22uid%22:%22jaeger%22}`, `{%22uid%22:%22zipkin%22}`, "asks"},
		"source not there":        {`%22a%22:{%22datasource%22:%22jaeger%22`, `%22a%22:{%22datasource%22:%22loki%22`, "no provisioned data source"},
		"no panes":                {`&panes={%22a%22:{%22datasource%22:%22jaeger%22`, `&panes={%22a%22:%22datasource%22:%22jaeger%22`, "explores nothing"},
		"says not what's lacking": {`"noValue": "unknown",`, ``, "does not say what no data means"},
		"unknown in colour":       {`{"color": "#8C8C8C", "value": null}, `, `{"color": "#009E73", "value": null}, `, "shows no data in the colour"},
		"unknown field":           {`"overrides": []`, `"overrides": [{"properties": [{"id": "thresholds", "value": {"mode": "absolute", "steps": [{"color": "#009E73"}]}}]}]`, "no data of a field"},
		"colour by no value":      {`"type": "timeseries"`, `"type": "stat"`, "takes its colours by"},
		"state without a name":    {`"type": "timeseries"`, `"type": "state-timeline"`, "states without a name"},
		"over gaps":               {`"noValue": "unknown",`, `"noValue": "unknown", "custom": {"spanNulls": true},`, "over gaps"},
		"strange colour":          {`"fixedColor": "#56B4E9"`, `"fixedColor": "blue"`, `the colour "blue"`},
		"strange palette":         {`"mode": "shades"`, `"mode": "palette-classic"`, "palette-classic"},
		"strange scheme":          {`"mode": "shades"`, `"scheme": "Oranges", "mode": "shades"`, "scheme"},
		"one pattern":             {`"targets": [{"refId": "A", "exemplar"`, `"targets": [{"refId": "B", "expr": "up"}, {"refId": "A", "exemplar"`, "1 patterns for 2 lines"},
		"made up":                 {`"expr": "ALERTS"`, `"expr": "ALERTS or vector(0)"`, "makes up a figure"},
		"too many queries":        {`"targets": [{"refId": "A", "instant"`, `"targets": [` + strings.Repeat(`{"refId": "B", "expr": "up"}, `, 23) + `{"refId": "A", "instant"`, "26 queries"},
		"open row":                {`"collapsed": true`, `"collapsed": false, "panels": [{"id": 5}]`, "is open"},
		"no starts":               {`"useValueForTime": true`, `"x": true`, "when services started"},
		"no logs":                 {`%22a%22:{%22datasource%22:%22elasticsearch%22`, `%22b%22:{%22datasource%22:%22elasticsearch%22`, "no link of the dashboard"},
		"leads nowhere":           {`"links": [{"title": "self", "url": "/d/a"}]`, `"links": []`, "leads to nothing"},
		"name cut off":            {`"value": 400`, `"value": 200`, "pixels for an alert's name"},
		"names too wide":          {`"value": 400`, `"value": 1000`, "its columns take 1000"},
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
			{"type": "row", "panels": [{"title": "in a row", "fieldConfig": {"defaults": {"noValue": "Unknown"}}, "targets": [{"refId": "A", "expr": "up"}]}]},
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

func TestFormat(t *testing.T) {
	long := strings.Repeat("x", 230)
	text := `{"b":{"c":[1e-09,null,true,"<é>"]}, "a" : ["` + long + `", {}], "d": {"e": "` + long + `"}}`
	want := `{
  "b": {"c": [1e-09, null, true, "<é>"]},
  "a": [
    "` + long + `",
    {}
  ],
  "d": {
    "e": "` + long + `"
  }
}
`
	for _, from := range []string{text, want} {
		if got, err := dashboards.Format([]byte(from)); err != nil || got != want {
			t.Errorf("got %s, %v", got, err)
		}
	}
	for _, broken := range []string{``, `{`, `{"a"`, `[1`, `{"a": }`} {
		if got, err := dashboards.Format([]byte(broken)); err == nil {
			t.Errorf("%s passes: %s", broken, got)
		}
	}
}
