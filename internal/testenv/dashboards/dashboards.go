// Package dashboards reads Grafana dashboards and judges them without a Grafana:
// whether panels overlap, say what they show and in which unit, and whether each
// query is one that Prometheus takes, of metrics and labels that exist. A
// dashboard with a misspelt name loads without complaint and stays empty, which
// is seen when it is needed most. Only tests use it.
//
//   - dashboards.go reads them, and lists their panels' queries, so that a test
//     may run them on a real Prometheus.
//   - check.go judges what a reader sees: layout, texts, units, links.
//   - trouble.go judges whether ten seconds suffice in an outage: what is not known
//     is grey, colours and patterns, names in full, gaps, few queries, ways on.
//   - queries.go judges queries and variables.
//   - format.go is the form in which they stand in the repository.
package dashboards

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Load reads every dashboard of a folder, in the order of the files' names. A
// folder without any is an error: a test of nothing would pass.
func Load(folder string) ([]Dashboard, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("list dashboards of %s: %w", folder, err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no dashboards in %s", folder)
	}
	all := make([]Dashboard, len(files))
	for i, file := range files {
		data, err := os.ReadFile(file) //nolint:gosec // of the repository
		if err != nil {
			return nil, fmt.Errorf("read dashboard: %w", err)
		}
		if all[i], err = Parse(data); err != nil {
			return nil, fmt.Errorf("parse dashboard %s: %w", file, err)
		}
		all[i].File = filepath.Base(file)
	}
	return all, nil
}

// Parse reads one dashboard's JSON, of which it refuses a second value.
func Parse(data []byte) (Dashboard, error) {
	var d Dashboard
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&d); err != nil {
		return Dashboard{}, err
	}
	if decoder.More() {
		return Dashboard{}, errors.New("something follows the dashboard")
	}
	err := json.Unmarshal(data, &d.whole)
	return d, err
}

// Dashboard is what this package needs of a dashboard's JSON, whose names are
// those of Grafana's dashboard schema before its version 2.
type Dashboard struct {
	File        string   `json:"-"` // base name of the file
	UID         string   `json:"uid"`
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Tags        []string `json:"tags"`
	Refresh     string   `json:"refresh"`
	Links       []Link   `json:"links"`
	Annotations struct {
		List []Annotation `json:"list"`
	} `json:"annotations"`
	Templating struct {
		List []Variable `json:"list"`
	} `json:"templating"`
	Panels []Panel `json:"panels"`
	whole  any     // the same JSON, as it is
}

// Panel is one panel, or a row.
type Panel struct {
	ID          int         `json:"id"`
	Type        string      `json:"type"`
	Title       string      `json:"title"`
	Description string      `json:"description"`
	GridPos     Grid        `json:"gridPos"`
	DataSource  *DataSource `json:"datasource"`
	Targets     []Target    `json:"targets"`
	FieldConfig struct {
		Defaults  Defaults   `json:"defaults"`
		Overrides []Override `json:"overrides"`
	} `json:"fieldConfig"`
	Options struct {
		YAxis struct {
			Unit string `json:"unit"`
		} `json:"yAxis"`
	} `json:"options"`
	Transformations []Transformation `json:"transformations"`
	Collapsed       bool             `json:"collapsed"` // of a row
	Panels          []Panel          `json:"panels"`    // of a row
}

// Grid is a panel's place on the grid of 24 columns.
type Grid struct{ X, Y, W, H int }

// DataSource names a data source by its uid.
type DataSource struct{ Type, UID string }

// Target is one query of a panel.
type Target struct {
	RefID        string      `json:"refId"`
	Expr         string      `json:"expr"`
	LegendFormat string      `json:"legendFormat"`
	Instant      bool        `json:"instant"`
	Exemplar     bool        `json:"exemplar"`
	DataSource   *DataSource `json:"datasource"`
}

// Defaults is how a panel shows its values.
type Defaults struct {
	Unit       string     `json:"unit"`
	Color      Color      `json:"color"`
	Thresholds Thresholds `json:"thresholds"`
	NoValue    string     `json:"noValue"`
	Links      []Link     `json:"links"`
	Custom     struct {
		SpanNulls any `json:"spanNulls"` // draw over gaps: true, or those up to so many ms
	} `json:"custom"`
}

// Color says where a value's colour comes from.
type Color struct {
	Mode       string `json:"mode"`
	FixedColor string `json:"fixedColor"`
}

// Transformation changes a panel's answers before they are shown.
type Transformation struct {
	ID      string `json:"id"`
	Options struct {
		RenameByName map[string]string `json:"renameByName"`
	} `json:"options"`
}

// Thresholds colours values: the first step has no value, the others ascend.
type Thresholds struct {
	Mode  string `json:"mode"`
	Steps []struct {
		Color string   `json:"color"`
		Value *float64 `json:"value"`
	} `json:"steps"`
}

// Override changes some fields of a panel.
type Override struct {
	Matcher struct {
		Options any `json:"options"`
	} `json:"matcher"`
	Properties []Property `json:"properties"`
}

// Property is one thing that an override sets.
type Property struct {
	ID    string          `json:"id"`
	Value json.RawMessage `json:"value"`
}

// Link leads out of a dashboard or a panel.
type Link struct {
	Type  string   `json:"type"`
	Title string   `json:"title"`
	URL   string   `json:"url"`
	Tags  []string `json:"tags"`
}

// Annotation marks points in time on every panel.
type Annotation struct {
	Name            string      `json:"name"`
	BuiltIn         int         `json:"builtIn"`
	DataSource      *DataSource `json:"datasource"`
	Expr            string      `json:"expr"`
	UseValueForTime bool        `json:"useValueForTime"` // the value says when it was
}

// Variable is a choice at the head of a dashboard.
type Variable struct {
	Name        string          `json:"name"`
	Label       string          `json:"label"`
	Description string          `json:"description"`
	Type        string          `json:"type"`
	DataSource  *DataSource     `json:"datasource"`
	Query       json.RawMessage `json:"query"` // text, or an object whose query is the text
	IncludeAll  bool            `json:"includeAll"`
	AllValue    string          `json:"allValue"`
	Current     struct {
		Value json.RawMessage `json:"value"` // text, or a list of texts
	} `json:"current"`
}

// AllPanels returns the panels that show something: those of rows too, and no
// rows.
func (d Dashboard) AllPanels() []Panel {
	var all []Panel
	for _, p := range d.Panels {
		if p.Type == "row" {
			all = append(all, p.Panels...)
			continue
		}
		all = append(all, p)
	}
	return all
}

// Links returns the links of a panel's values, those of single fields too.
func (p Panel) Links() ([]Link, error) {
	all := slices.Clone(p.FieldConfig.Defaults.Links)
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			if property.ID != "links" {
				continue
			}
			var links []Link
			if err := json.Unmarshal(property.Value, &links); err != nil {
				return nil, fmt.Errorf("panel %q: links of a field: %w", p.Title, err)
			}
			all = append(all, links...)
		}
	}
	return all, nil
}

// Query is one query that a dashboard sends to Prometheus.
type Query struct {
	Dashboard string // the dashboard's title
	Panel     string // the panel's title
	Ref       string // the query's letter in the panel
	Legend    string // Grafana's legend, with {{label}} for a label's value
	Raw       string // as it stands in the file
	Expr      string // Raw with Grafana's variables replaced: a query that Prometheus takes
	Instant   bool   // for one point in time, not for a range
	// MayBeEmpty is set for a panel that says in words what an empty result
	// means, as a list of firing alerts does. All others say [Unknown], and have
	// data while the system runs and is used.
	MayBeEmpty bool
}

// Unknown is what a panel says where it has no data, and none is a fault.
const Unknown = "unknown"

// Queries lists every query of a dashboard's panels, in the order of the file.
// A variable stands for all its values, $__rate_interval for a minute and
// $__range for a quarter of an hour.
func Queries(d Dashboard) []Query {
	var all []Query
	for _, p := range d.AllPanels() {
		for _, t := range p.Targets {
			all = append(all, Query{
				Dashboard: d.Title, Panel: p.Title, Ref: t.RefID, Legend: t.LegendFormat,
				Raw: t.Expr, Expr: d.expand(t.Expr), Instant: t.Instant,
				MayBeEmpty: !strings.EqualFold(p.FieldConfig.Defaults.NoValue, Unknown),
			})
		}
	}
	return all
}

// expand replaces Grafana's variables by values that Prometheus takes. One that
// is not declared stays as it is, and the query is then refused.
func (d Dashboard) expand(expr string) string {
	values := map[string]string{"__rate_interval": "1m", "__interval": "15s", "__range": "15m"}
	for _, v := range d.Templating.List {
		values[v.Name] = v.all()
	}
	variable := regexp.MustCompile(`\$\{([A-Za-z_]\w*)(?::\w+)?\}|\$([A-Za-z_]\w*)`)
	return variable.ReplaceAllStringFunc(expr, func(found string) string {
		groups := variable.FindStringSubmatch(found)
		if value, ok := values[groups[1]+groups[2]]; ok {
			return value
		}
		return found
	})
}

// all returns what stands for every value of the variable in a regular
// expression or, for one without such a choice, its first value.
func (v Variable) all() string {
	if v.AllValue != "" {
		return v.AllValue
	}
	if v.IncludeAll {
		return ".*"
	}
	var one string
	if json.Unmarshal(v.Current.Value, &one) == nil {
		return one
	}
	return ""
}
