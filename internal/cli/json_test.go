package cli

import (
	"encoding"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/audit"
	"github.com/vigie-dev/vigie/internal/doctor"
	"github.com/vigie-dev/vigie/internal/explain"
	"github.com/vigie-dev/vigie/internal/faults"
	"github.com/vigie-dev/vigie/internal/load"
	"github.com/vigie-dev/vigie/internal/top"
	"github.com/vigie-dev/vigie/internal/traces"
	"github.com/vigie-dev/vigie/services"
	"github.com/vigie-dev/vigie/services/sentinelle"
)

// jsonDocuments are what the commands write with --json.
func jsonDocuments() map[string][]any {
	return map[string][]any{
		"vigie audit":            {audit.Report{}},
		"vigie broker --salvage": {salvaged{}},
		"vigie dlq list":         {jsonLetter{}},
		"vigie dlq purge":        {jsonOutcome{}, (&resolving{verb: "purged"}).totals()},
		"vigie dlq replay":       {jsonOutcome{}, (&resolving{verb: "replayed"}).totals()},
		"vigie dlq show":         {jsonWhole{}},
		"vigie doctor":           {doctor.Finding{}},
		"vigie explain":          {explain.Alert{}},
		"vigie explain ALERT":    {explain.Report{}},
		"vigie fault list":       {sentinelle.FaultList{}},
		"vigie fault start":      {faults.Status{}},
		"vigie fault stop":       {sentinelle.StoppedFaults{}},
		"vigie groups":           {sentinelle.GroupList{}},
		"vigie groups GROUP":     {sentinelle.GroupDetail{}},
		"vigie health":           {healthAnswer{}},
		"vigie load":             {load.Report{}},
		"vigie reset":            {resetPlan{}},
		"vigie top":              {top.Frame{}},
		"vigie topics":           {prepared{}},
		"vigie trace":            {traces.ReportDocument{}},
		"vigie version":          {build{}},
	}
}

// docs/json.md names every field of every document, and no other; every command
// with --json has its place in it.
func TestJSONIsDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "json.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string][]string{}
	for section := range strings.SplitSeq(string(text), "\n## ") {
		title, body, _ := strings.Cut(section, "\n")
		sections[strings.Trim(title, "`")] = documentedFields(body)
	}
	for name, documents := range jsonDocuments() {
		var fields []string
		for _, d := range documents {
			fields = append(fields, fieldsOf(reflect.ValueOf(d), "")...)
		}
		slices.Sort(fields)
		if diff := cmp.Diff(sections[name], slices.Compact(fields)); diff != "" {
			t.Errorf("docs/json.md, %s (-document +code):\n%s", name, diff)
		}
	}
	for _, name := range withJSON(newCommand(services.All(), nil, io.Discard, io.Discard)) {
		if name == "vigie broker" {
			name += " --salvage"
		}
		if jsonDocuments()[name] == nil {
			t.Errorf("%s has --json: add what it writes to jsonDocuments, and to docs/json.md", name)
		}
	}
}

// documentedFields reads the tables' first column: `a`, `b`, or `a[]`: `b`, `c` for
// what is in it.
func documentedFields(section string) (fields []string) {
	name := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 || !strings.Contains(cells[1], "`") {
			continue
		}
		inside, below := "", cells[1]
		if outer, rest, ok := strings.Cut(cells[1], "`: `"); ok {
			inside, below = strings.Trim(outer, " `")+".", "`"+rest
		}
		for _, found := range name.FindAllStringSubmatch(below, -1) {
			fields = append(fields, inside+found[1])
		}
	}
	slices.Sort(fields)
	return fields
}

// fieldsOf are the paths of a document's values: of lists with [] behind them, of
// objects with whatever names with {}.
func fieldsOf(v reflect.Value, path string) []string {
	t := v.Type()
	marshals := t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]())
	switch {
	case t.Kind() == reflect.Pointer:
		return fieldsOf(reflect.New(t.Elem()).Elem(), path)
	case t == reflect.TypeFor[time.Time](), marshals, t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return []string{path}
	case t.Kind() == reflect.Slice:
		return fieldsOf(reflect.New(t.Elem()).Elem(), path+"[]")
	case t.Kind() == reflect.Map && path == "": // a document that is made of names
		names := slices.Collect(maps.Keys(v.Interface().(map[string]int)))
		return names
	case t.Kind() == reflect.Map:
		return []string{path + "{}"}
	case t.Kind() != reflect.Struct:
		return []string{path}
	}
	var fields []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported() && !f.Anonymous:
		case f.Anonymous && name == "":
			fields = append(fields, fieldsOf(v.Field(i), path)...)
		case name != "-":
			fields = append(fields, fieldsOf(v.Field(i), strings.TrimPrefix(path+"."+name, "."))...)
		}
	}
	return fields
}

// withJSON are the commands that have --json.
func withJSON(c *cli.Command) (names []string) {
	if slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return f.Names()[0] == flagJSON }) {
		names = append(names, c.Name)
	}
	for _, sub := range c.Commands {
		for _, name := range withJSON(sub) {
			names = append(names, c.Name+" "+name)
		}
	}
	return names
}
