package monitoring_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/repo"
)

const logging = "monitoring/logging/"

// stream is the data stream that the Collector writes: type, dataset with what
// the exporter adds to it, namespace.
const stream = "logs-vigie.otel-default"

// fields are the names that the exporter gives what a log line has.
func fields() []string {
	return []string{"@timestamp", "severity_text", "severity_number", "body.text", "trace_id", "span_id", "attributes.order_id", "resource.attributes.service.name"}
}

// The template is that of the Collector's stream, goes before Elasticsearch's
// own for such streams, and keeps a week.
func TestIndexTemplate(t *testing.T) {
	var template struct {
		Patterns   []string `json:"index_patterns"`
		Priority   int
		DataStream *struct{} `json:"data_stream"`
		ComposedOf []string  `json:"composed_of"`
		Template   struct {
			Lifecycle struct {
				Enabled   bool
				Retention string `json:"data_retention"`
			}
		}
	}
	parseJSON(t, repo.Read(t, logging+"index-template.json"), &template)
	if matched, err := path.Match(template.Patterns[0], stream); len(template.Patterns) != 1 || !matched || err != nil {
		t.Errorf("patterns %v do not match %s", template.Patterns, stream)
	}
	if template.DataStream == nil || template.Priority <= 200 {
		t.Errorf("no data stream, or priority %d, not above Elasticsearch's own", template.Priority)
	}
	if l := template.Template.Lifecycle; !l.Enabled || l.Retention != "7d" {
		t.Errorf("lifecycle %+v, documented are 7 days", l)
	}
	if slices.Contains(template.ComposedOf, "logs@settings") || !slices.Contains(template.ComposedOf, "logs-otel@mappings") {
		t.Errorf("composed of %v", template.ComposedOf)
	}
	config := repo.Read(t, elastic)
	for _, value := range []string{"key: data_stream.dataset, action: upsert, value: vigie", "key: data_stream.namespace, action: upsert, value: default"} {
		if !strings.Contains(config, value) {
			t.Errorf("the Collector does not write %s: no %s", stream, value)
		}
	}
}

// object is a saved object of Kibana's, as it imports them.
type object struct {
	Type, ID   string
	Attributes struct {
		Title, Name, TimeFieldName, FieldFormatMap string
		Columns                                    []string
		Meta                                       struct {
			SearchSource string `json:"searchSourceJSON"`
		} `json:"kibanaSavedObjectMeta"`
	}
	References []struct{ Name, Type, ID string }
}

// Kibana gets a data view of the stream and a search by order and trace, whose
// fields are those that are written.
func TestSavedObjects(t *testing.T) {
	views, searches := map[string]object{}, 0
	for line := range strings.Lines(repo.Read(t, logging+"saved-objects.ndjson")) {
		var o object
		parseJSON(t, line, &o)
		switch o.Type {
		case "index-pattern":
			views[o.ID] = o
			if matched, _ := path.Match(o.Attributes.Title, stream); !matched || o.Attributes.TimeFieldName != "@timestamp" {
				t.Errorf("data view %+v", o.Attributes)
			}
			var formats map[string]any
			parseJSON(t, o.Attributes.FieldFormatMap, &formats)
			for field := range formats {
				knownField(t, o.ID, field)
			}
		case "search":
			searches++
			checkSearch(t, o, views)
		default:
			t.Errorf("%s is a %s", o.ID, o.Type)
		}
	}
	if len(views) != 1 || searches == 0 {
		t.Errorf("%d data views, %d searches", len(views), searches)
	}
}

func checkSearch(t *testing.T, o object, views map[string]object) {
	t.Helper()
	for _, column := range o.Attributes.Columns {
		knownField(t, o.ID, column)
	}
	if !slices.Contains(o.Attributes.Columns, "attributes.order_id") || !slices.Contains(o.Attributes.Columns, "trace_id") {
		t.Errorf("%s shows %v, without order or trace", o.ID, o.Attributes.Columns)
	}
	var source struct {
		Query struct{ Language, Query string }
		Index string `json:"indexRefName"`
	}
	parseJSON(t, o.Attributes.Meta.SearchSource, &source)
	for _, term := range strings.FieldsFunc(source.Query.Query, func(r rune) bool { return strings.ContainsRune(" :>=", r) }) {
		if strings.ContainsAny(term, "._") {
			knownField(t, o.ID, term)
		}
	}
	if len(o.References) != 1 || o.References[0].Name != source.Index || views[o.References[0].ID].ID == "" {
		t.Errorf("%s searches %v as %s, which comes not before it", o.ID, o.References, source.Index)
	}
}

func knownField(t *testing.T, id, field string) {
	t.Helper()
	if !slices.Contains(fields(), field) {
		t.Errorf("%s: nobody writes %s", id, field)
	}
}

func parseJSON(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

// A curl that refuses the first time, and then answers as the two servers do.
const fakeCurl = `#!/bin/sh
echo "$*" >>"$CALLS"
[ "$(wc -l <"$CALLS")" -gt 1 ] || { echo '{"error":"no such component template"}'; exit 22; }
case "$*" in *_import*) echo "$ANSWER" ;; esac
`

// The set-up waits until Elasticsearch takes the template, and ends well only
// when Kibana took all.
func TestLoggingSetup(t *testing.T) {
	for answer, ok := range map[string]bool{`{"successCount":3,"success":true}`: true, `{"successCount":0,"success":false,"errors":[{"id":"x"}]}`: false} {
		bin := t.TempDir()
		for name, text := range map[string]string{"curl": fakeCurl, "sleep": "#!/bin/sh\n"} {
			if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		calls := filepath.Join(bin, "calls")
		script, err := filepath.Abs(repo.Path(t, logging, "setup.sh"))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "sh", script)
		cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "CALLS=" + calls, "ANSWER=" + answer, "ELASTICSEARCH_URL=http://e", "KIBANA_URL=http://k"}
		out, err := cmd.CombinedOutput()
		if (err == nil) != ok {
			t.Errorf("Kibana answers %s: %v, %s", answer, err, out)
		}
		requests, err := os.ReadFile(calls)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(requests)), "\n")
		if len(lines) < 3 || !strings.Contains(lines[1], "PUT http://e/_index_template/vigie-logs") || !strings.Contains(lines[2], "POST http://k/api/saved_objects/_import?overwrite=true") {
			t.Errorf("it sent:\n%s", requests)
		}
	}
}
