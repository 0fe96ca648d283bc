package dashboards

import (
	"encoding/json"
	"slices"
	"strings"
)

// checkDataSources reports everything that asks a certain data source instead
// of the one chosen at the head of the dashboard.
func checkDataSources(d Dashboard) error {
	const chosen = "${datasource}"
	var bad problems
	check := func(what, name string, ds *DataSource) {
		if ds == nil || ds.UID != chosen || ds.Type != "prometheus" {
			bad.addf("%s %q does not ask the data source %s", what, name, chosen)
		}
	}
	declared := false
	for _, v := range d.Templating.List {
		declared = declared || v.Name == "datasource" && v.Type == "datasource" && string(v.Query) == `"prometheus"`
		if v.Type == "query" {
			check("variable", v.Name, v.DataSource)
		}
	}
	if !declared {
		bad.addf("no variable chooses the data source")
	}
	for _, a := range d.Annotations.List {
		if a.BuiltIn == 0 {
			check("annotation", a.Name, a.DataSource)
		}
	}
	for _, p := range d.AllPanels() {
		check("panel", p.Title, p.DataSource)
		for _, t := range p.Targets {
			if t.DataSource != nil {
				check("query "+t.RefID+" of panel", p.Title, t.DataSource)
			}
		}
	}
	return bad.err()
}

// checkPanels reports panels that do not say what they show, in which unit and
// what is good or bad.
func checkPanels(d Dashboard) error {
	var bad problems
	if d.Title == "" || d.Description == "" {
		bad.addf("the dashboard has no title or no description")
	}
	if d.Refresh != "5s" {
		bad.addf("refresh is %q, not 5s", d.Refresh)
	}
	titles := map[string]bool{}
	for _, p := range d.AllPanels() {
		if p.Title == "" || titles[p.Title] {
			bad.addf("panel %d has no title of its own: %q", p.ID, p.Title)
		}
		titles[p.Title] = true
		if p.Description == "" || !strings.HasSuffix(p.Description, ".") {
			bad.addf("%q has no description in sentences", p.Title)
		}
		if len(p.Targets) == 0 {
			bad.addf("%q asks nothing", p.Title)
		}
		p.checkUnits(&bad)
		p.checkThresholds(&bad)
	}
	return bad.err()
}

// checkUnits reports units that Grafana does not know, which it would append to
// the value as they are.
func (p Panel) checkUnits(bad *problems) {
	unit := p.FieldConfig.Defaults.Unit
	if p.Type == "heatmap" {
		unit = p.Options.YAxis.Unit
	}
	if !knownUnit(unit) {
		bad.addf("%q: unit %q is not known", p.Title, unit)
	}
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			var unit string
			if property.ID == "unit" && (json.Unmarshal(property.Value, &unit) != nil || !knownUnit(unit)) {
				bad.addf("%q: unit %s is not known", p.Title, property.Value)
			}
		}
	}
}

// knownUnit tells of the units in use, by their ids in Grafana's list of value
// formats; any text may follow a number as a suffix.
func knownUnit(unit string) bool {
	return strings.HasPrefix(unit, "suffix: ") || slices.Contains([]string{
		"none", "short", "percentunit", "bytes", "Bps", "s", "reqps", "recps", "pps", "currencyEUR",
	}, unit)
}

func (p Panel) checkThresholds(bad *problems) {
	check := func(t Thresholds) {
		sound := t.Mode == "absolute" && len(t.Steps) > 0 && t.Steps[0].Value == nil
		for i := 1; sound && i < len(t.Steps); i++ {
			value, before := t.Steps[i].Value, t.Steps[i-1].Value
			sound = value != nil && (before == nil || *before < *value)
		}
		if !sound {
			bad.addf("%q: thresholds are missing or do not ascend from a first one without a value", p.Title)
		}
	}
	check(p.FieldConfig.Defaults.Thresholds)
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			if property.ID != "thresholds" {
				continue
			}
			var t Thresholds
			if err := json.Unmarshal(property.Value, &t); err != nil {
				bad.addf("%q: thresholds of a field: %v", p.Title, err)
				continue
			}
			check(t)
		}
	}
}
