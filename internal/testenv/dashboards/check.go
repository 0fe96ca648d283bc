package dashboards

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vigie-dev/vigie/internal/testenv/series"
)

// Check reports everything wrong with a set of dashboards, given the metrics
// that exist and the folder that links to the repository lead into.
func Check(all []Dashboard, metrics series.Known, repository string) error {
	var errs []error
	uids := map[string]string{}
	for _, d := range all {
		if other, taken := uids[d.UID]; d.UID == "" || taken {
			errs = append(errs, fmt.Errorf("%s: uid %q is missing or that of %s", d.File, d.UID, other))
		}
		uids[d.UID] = d.File
		if err := errors.Join(
			checkLayout(d), checkDataSources(d), checkPanels(d), checkTrouble(d, repository),
			checkQueries(d, metrics), checkVariables(d, metrics), checkLinks(d, all, repository),
		); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", d.File, err))
		}
	}
	return errors.Join(errs...)
}

// problems collects what is wrong with one part of a dashboard.
type problems []error

func (p *problems) addf(format string, args ...any) { *p = append(*p, fmt.Errorf(format, args...)) }

func (p problems) err() error { return errors.Join(p...) }

// columns is the width of Grafana's grid.
const columns = 24

// checkLayout reports panels that share an id, lie outside the grid or overlap.
func checkLayout(d Dashboard) error {
	var bad problems
	ids := map[int]string{}
	check := func(panels []Panel) {
		for i, p := range panels {
			if other, taken := ids[p.ID]; p.ID <= 0 || taken {
				bad.addf("%q has the id %d, missing or that of %q", p.Title, p.ID, other)
			}
			ids[p.ID] = p.Title
			if g := p.GridPos; g.W <= 0 || g.H <= 0 || g.X < 0 || g.Y < 0 || g.X+g.W > columns {
				bad.addf("%q lies outside the grid: %+v", p.Title, g)
			}
			for _, other := range panels[:i] {
				if p.GridPos.overlaps(other.GridPos) {
					bad.addf("%q overlaps %q", p.Title, other.Title)
				}
			}
		}
	}
	check(d.Panels)
	for _, p := range d.Panels {
		check(p.Panels)
	}
	return bad.err()
}

func (g Grid) overlaps(o Grid) bool {
	return g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H
}

// checkDataSources reports everything that names a certain data source instead
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

// knownUnit says whether a unit is one of those in use, by their ids in
// Grafana's list of value formats; any text may follow a number as a suffix.
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

// repositoryURL is where links into the repository begin; what follows is
// blob or tree, the branch, and the path.
const repositoryURL = "https://github.com/vigie-dev/vigie/"

// checkLinks reports links that lead nowhere.
func checkLinks(d Dashboard, all []Dashboard, repository string) error {
	var bad problems
	for _, l := range d.Links {
		if l.Type != "dashboards" {
			checkTarget(&bad, l, all, repository)
			continue
		}
		tagged := slices.DeleteFunc(slices.Clone(all), func(o Dashboard) bool {
			return slices.ContainsFunc(l.Tags, func(tag string) bool { return !slices.Contains(o.Tags, tag) })
		})
		if len(tagged) < len(all) {
			bad.addf("the link %q by the tags %v leads to %d of %d dashboards", l.Title, l.Tags, len(tagged), len(all))
		}
	}
	for _, p := range d.AllPanels() {
		links, err := p.Links()
		if err != nil {
			bad.addf("%w", err)
		}
		for _, l := range links {
			checkTarget(&bad, l, all, repository)
		}
	}
	if len(d.Links) == 0 {
		bad.addf("no link leads to the other dashboards")
	}
	return bad.err()
}

// checkExplore reports a link into Grafana's Explore with panes that it would not
// read, or of a data source that is not provisioned.
func checkExplore(bad *problems, l Link, query, repository string) {
	values, err := url.ParseQuery(query)
	var panes map[string]struct {
		DataSource string
		Queries    []struct{ DataSource DataSource }
		Range      struct{ From, To string }
	}
	if err == nil {
		err = json.Unmarshal([]byte(values.Get("panes")), &panes)
	}
	if err != nil || len(panes) != 1 || values.Get("schemaVersion") != "1" {
		bad.addf("the link %q explores nothing: %d panes, %v", l.Title, len(panes), err)
	}
	sources, err := os.ReadFile(filepath.Join(repository, "monitoring", "grafana", "provisioning", "datasources", "datasources.yml")) //nolint:gosec // of the repository
	if err != nil {
		bad.addf("the link %q: %w", l.Title, err)
	}
	for _, pane := range panes {
		if !strings.Contains(string(sources), "\n    uid: "+pane.DataSource+"\n") {
			bad.addf("the link %q explores %q, which is no provisioned data source", l.Title, pane.DataSource)
		}
		if len(pane.Queries) != 1 || pane.Queries[0].DataSource.UID != pane.DataSource || pane.Range.From == "" {
			bad.addf("the link %q asks %+v", l.Title, pane)
		}
	}
}

// checkTarget reports a link that leads to no dashboard and to no file or
// folder of the repository. Of a path with a variable the folder must exist.
func checkTarget(bad *problems, l Link, all []Dashboard, repository string) {
	path, query, _ := strings.Cut(l.URL, "?")
	if path == "/explore" {
		checkExplore(bad, l, query, repository)
		return
	}
	if uid, ok := strings.CutPrefix(path, "/d/"); ok {
		if !slices.ContainsFunc(all, func(d Dashboard) bool { return d.UID == uid }) {
			bad.addf("the link %q leads to %s, which is no dashboard", l.Title, uid)
		}
		return
	}
	inside, ok := strings.CutPrefix(path, repositoryURL)
	parts := strings.SplitN(inside, "/", 3)
	if !ok || len(parts) < 3 {
		bad.addf("the link %q leads out of the repository: %s", l.Title, l.URL)
		return
	}
	file := parts[2]
	if strings.Contains(file, "${") {
		file = filepath.Dir(file)
	}
	if _, err := os.Stat(filepath.Join(repository, filepath.FromSlash(file))); err != nil {
		bad.addf("the link %q: %w", l.Title, err)
	}
}
