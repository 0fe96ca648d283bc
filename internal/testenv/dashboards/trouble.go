package dashboards

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vigie-dev/vigie/internal/testenv/series"
)

// mostQueries is how many queries a dashboard may send when it refreshes: every five
// seconds, from everyone who looks, and everybody looks during an outage. Those of
// collapsed rows are sent when a row is opened.
const mostQueries = 25

// grey is the colour of what is not known, and of nothing else.
const grey = "#8C8C8C"

// palette has the colours that people with any sight of colours tell apart, by Okabe
// and Ito's names, and the grey.
func palette() map[string]string {
	return map[string]string{
		"#000000": "black", "#E69F00": "orange", "#56B4E9": "sky blue", "#009E73": "bluish green", "#F0E442": "yellow",
		"#0072B2": "blue", "#D55E00": "vermillion", "#CC79A7": "reddish purple", grey: "unknown",
	}
}

// checkTrouble reports what would mislead somebody who looks in an outage, or
// would take longer than ten seconds to see.
func checkTrouble(d Dashboard, repository string) error {
	var bad problems
	checkColours(&bad, "", d.whole)
	checkLoad(&bad, d)
	checkWaysOn(&bad, d)
	for _, p := range d.AllPanels() {
		p.checkUnknown(&bad)
		p.checkPatterns(&bad)
		for _, t := range p.Targets {
			if strings.Contains(t.Expr, "vector(") {
				bad.addf("%q, query %s makes up a figure where there is none: %s", p.Title, t.RefID, t.Expr)
			}
		}
	}
	return checkAlertNames(&bad, d, repository)
}

// checkColours looks for colours everywhere, since Grafana has them in a dozen places.
func checkColours(bad *problems, key string, value any) {
	switch v := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			checkColours(bad, name, v[name])
		}
	case []any:
		for _, element := range v {
			checkColours(bad, key, element)
		}
	case string:
		_, known := palette()[v]
		switch {
		case (key == "color" || key == "fixedColor" || key == "iconColor") && !known:
			bad.addf("the colour %q is none of Okabe and Ito's", v)
		case key == "scheme" && v != "Viridis" && v != "Cividis":
			bad.addf("the scheme of colours %q is not one that everybody sees", v)
		case key == "mode" && (strings.HasPrefix(v, "palette-") || strings.HasPrefix(v, "continuous-")):
			bad.addf("colours by %q are not Okabe and Ito's", v)
		}
	}
}

// checkLoad reports a dashboard that asks too much of Prometheus each time.
func checkLoad(bad *problems, d Dashboard) {
	queries := 0
	for _, a := range d.Annotations.List {
		if a.BuiltIn == 0 {
			queries++
		}
	}
	for _, p := range d.Panels {
		queries += len(p.Targets)
		if p.Type == "row" && !p.Collapsed && len(p.Panels) > 0 {
			bad.addf("the row %q is open, and has panels of its own", p.Title)
		}
	}
	if queries > mostQueries {
		bad.addf("a refresh sends %d queries, %d at most", queries, mostQueries)
	}
}

// checkWaysOn reports a dashboard that shows no starts of services, which explain
// most steps in a line, or leads to no runbooks, traces or logs; and panels from
// which nothing leads on.
func checkWaysOn(bad *problems, d Dashboard) {
	if !slices.ContainsFunc(d.Annotations.List, func(a Annotation) bool {
		return strings.Contains(a.Expr, "process_start_time_seconds") && a.UseValueForTime
	}) {
		bad.addf("no annotation shows when services started")
	}
	for _, way := range []string{repositoryURL, "/explore?schemaVersion=1&panes={%22a%22:{%22datasource%22:%22jaeger%22", "/explore?schemaVersion=1&panes={%22a%22:{%22datasource%22:%22elasticsearch%22"} {
		if !slices.ContainsFunc(d.Links, func(l Link) bool { return strings.HasPrefix(l.URL, way) }) {
			bad.addf("no link of the dashboard begins with %s", way)
		}
	}
	for _, p := range d.Panels {
		if links, err := p.Links(); p.Type != "row" && (err != nil || len(links) == 0) {
			bad.addf("%q leads to nothing: %v", p.Title, err)
		}
	}
}

// checkUnknown reports a panel that would show what is not known in a colour that
// means something, or not as unknown at all.
func (p Panel) checkUnknown(bad *problems) {
	if p.FieldConfig.Defaults.NoValue == "" {
		bad.addf("%q does not say what no data means", p.Title)
	}
	first := func(t Thresholds) string {
		if len(t.Steps) == 0 {
			return ""
		}
		return t.Steps[0].Color
	}
	// Grafana gives what has no value the first step's colour.
	if got := first(p.FieldConfig.Defaults.Thresholds); got != grey {
		bad.addf("%q shows no data in the colour %q, not in grey", p.Title, got)
	}
	for _, property := range p.properties("thresholds") {
		var t Thresholds
		if err := json.Unmarshal(property.Value, &t); err != nil || first(t) != grey {
			bad.addf("%q shows no data of a field in the colour %q, not in grey: %v", p.Title, first(t), err)
		}
	}
	switch colour := p.FieldConfig.Defaults.Color; {
	case (p.Type == "stat" || p.Type == "bargauge") && colour.Mode != "thresholds":
		bad.addf("%q takes its colours by %q: no data would have one of them", p.Title, colour.Mode)
	// By thresholds Grafana would show these in place of the states.
	case p.Type == "state-timeline" && colour != (Color{Mode: "fixed", FixedColor: grey}):
		bad.addf("%q shows states without a name in %+v, not in grey", p.Title, colour)
	}
	if span := p.FieldConfig.Defaults.Custom.SpanNulls; span != nil && span != any(false) {
		bad.addf("%q draws its lines over gaps", p.Title)
	}
}

// properties returns what overrides set under a name.
func (p Panel) properties(id string) (all []Property) {
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			if property.ID == id {
				all = append(all, property)
			}
		}
	}
	return all
}

// checkPatterns reports graphs whose lines differ in colour alone: all but one of
// those that are named have a pattern of their own.
func (p Panel) checkPatterns(bad *problems) {
	if p.Type != "timeseries" {
		return
	}
	patterns := map[string]bool{"": true}
	for _, property := range p.properties("custom.lineStyle") {
		if patterns[string(property.Value)] {
			bad.addf("%q has two lines of the pattern %s", p.Title, property.Value)
		}
		patterns[string(property.Value)] = true
	}
	colours := map[string]bool{}
	for _, property := range p.properties("color") {
		if colours[string(property.Value)] {
			bad.addf("%q has two lines of the colour %s", p.Title, property.Value)
		}
		colours[string(property.Value)] = true
	}
	if most := max(len(p.Targets), len(colours)); len(patterns) < most {
		bad.addf("%q has %d patterns for %d lines", p.Title, len(patterns), most)
	}
}

const (
	characterWidth = 9    // pixels that a character of a table takes at most
	narrowScreen   = 1280 // pixels across a small laptop
)

// checkAlertNames reports a table of alerts that would cut an alert's name off.
func checkAlertNames(bad *problems, d Dashboard, repository string) error {
	rules, err := series.Rules(repository)
	if err != nil {
		return err
	}
	longest := ""
	for _, rule := range rules {
		if len(rule.Alert) > len(longest) {
			longest = rule.Alert
		}
	}
	for _, p := range d.AllPanels() {
		if p.Type != "table" || !slices.ContainsFunc(p.Targets, func(t Target) bool { return strings.Contains(t.Expr, "ALERTS") }) {
			continue
		}
		of, all := p.widths()
		if want := characterWidth * len(longest); of < want {
			bad.addf("%q has %d pixels for an alert's name, and %s takes %d", p.Title, of, longest, want)
		}
		if have := narrowScreen * p.GridPos.W / columns; all > have {
			bad.addf("%q is %d pixels wide, its columns take %d", p.Title, have, all)
		}
	}
	return bad.err()
}

// widths returns how wide the column of the alerts' names is, and all that have a width.
func (p Panel) widths() (of, all int) {
	name := "alertname"
	for _, t := range p.Transformations {
		if renamed, ok := t.Options.RenameByName[name]; ok {
			name = renamed
		}
	}
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			var width int
			if property.ID != "custom.width" || json.Unmarshal(property.Value, &width) != nil {
				continue
			}
			all += width
			if fmt.Sprint(o.Matcher.Options) == name {
				of = width
			}
		}
	}
	return of, all
}
