package dashboards

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

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

// checkTarget reports a link that leads to no dashboard and to no file or
// folder of the repository. Of a path with a variable the folder must exist.
func checkTarget(bad *problems, l Link, all []Dashboard, repository string) {
	path, _, _ := strings.Cut(l.URL, "?")
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
