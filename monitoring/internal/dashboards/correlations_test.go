package dashboards_test

import (
	"strings"
	"testing"
)

// correlation is a link from a field of a source's results to a query of another.
type correlation struct {
	TargetUID          string `yaml:"targetUID"`
	Label, Description string
	Type               string
	Config             struct {
		Type, Field     string
		Target          map[string]any
		Transformations []struct {
			Type, Field, Expression string
			MapValue                string `yaml:"mapValue"`
		}
	}
}

// Logs are read where the Collector writes them, under the names that its
// exporter gives, and each line leads to its trace.
func TestLogsLeadToTheirTraces(t *testing.T) {
	all := sources(t)
	logs := all["elasticsearch"].JSON
	if logs.Index != "logs-vigie.otel-*" || logs.TimeField != "@timestamp" || logs.MessageField != "body.text" || logs.LevelField != "severity_text" {
		t.Errorf("logs are read as %+v", logs)
	}
	if len(logs.DataLinks) != 1 || logs.DataLinks[0].Field != "trace_id" || all[logs.DataLinks[0].UID].Type != "jaeger" || logs.DataLinks[0].URL != "$${__value.raw}" {
		t.Errorf("lines lead to %+v", logs.DataLinks)
	}
	leads := map[string]bool{}
	for _, c := range all["elasticsearch"].Correlations {
		leads[c.Config.Field+" "+all[c.TargetUID].Type] = true
	}
	for _, want := range []string{"trace_id zipkin", "trace_id elasticsearch", "attributes.order_id elasticsearch"} {
		if !leads[want] {
			t.Errorf("lines lead by %v, not by %s", leads, want)
		}
	}
}

// And each trace to its lines: from a span, and from a search's results.
func TestTracesLeadToTheirLogs(t *testing.T) {
	all := sources(t)
	for _, uid := range []string{"jaeger", "zipkin"} {
		source := all[uid]
		if l := source.JSON.Logs; all[l.UID].Type != "elasticsearch" || !l.CustomQuery || l.Query != `trace_id:"$${__span.traceId}"` {
			t.Errorf("%s: spans lead to %+v", uid, l)
		}
		if len(source.Correlations) != 1 || source.Correlations[0].Config.Field != "traceID" || source.Correlations[0].TargetUID != "elasticsearch" {
			t.Errorf("%s: results lead to %+v", uid, source.Correlations)
		}
	}
}

// Grafana refuses to start with a correlation that it does not understand: it
// needs a label and a description, takes the type in config, and nothing but a
// query there; and what is a variable of the target must come from the result.
func TestCorrelationsAreSound(t *testing.T) {
	all := sources(t)
	for _, s := range all {
		for _, c := range s.Correlations {
			if c.Label == "" || c.Description == "" || c.Type != "" || c.Config.Type != "query" || all[c.TargetUID].UID == "" {
				t.Errorf("%s: %+v", s.Name, c)
			}
			query, _ := c.Config.Target["query"].(string)
			variable := c.Config.Field
			for _, tr := range c.Config.Transformations {
				if variable = tr.MapValue; tr.Type != "regex" || tr.Field != c.Config.Field || !strings.Contains(tr.Expression, "(") {
					t.Errorf("%s, %s: %+v", s.Name, c.Label, tr)
				}
			}
			if !strings.Contains(query, "$${"+variable+"}") || strings.Contains(variable, ".") {
				t.Errorf("%s, %s: %q does not ask for %s", s.Name, c.Label, query, variable)
			}
		}
	}
}
