// Package explain says of an alert what is behind it: what its runbook says, what
// the runbook's queries find now, whether it fires and since when, and which
// partition, orders and traces it is about. It only reads.
//
// book.go reads the alerts and their runbooks, explain.go asks about one, and
// text.go writes what was found.
package explain

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/vigie-dev/vigie/internal/promapi"
)

// Alert is an alert as the rules declare it, with its runbook.
type Alert struct {
	Name     string `json:"name"`
	Severity string `json:"severity"`
	Summary  string `json:"summary"` // with the rules' placeholders
	Expr     string `json:"expr"`
	Runbook  string `json:"runbook"` // the file's name

	// Sections are the runbook's, by their headings, as Markdown.
	Sections map[string]string `json:"-"`
	Queries  []Query           `json:"-"`
}

// Query is a line of PromQL in a runbook, with the comment behind it.
type Query struct{ Expr, Comment string }

// Book is all alerts, sorted by name.
type Book []Alert

// Names returns the alerts' names.
func (b Book) Names() []string {
	names := make([]string, len(b))
	for i, a := range b {
		names[i] = a.Name
	}
	return names
}

// Find returns the alert of that name, in whatever case it is written.
func (b Book) Find(name string) (Alert, bool) {
	i := slices.IndexFunc(b, func(a Alert) bool { return strings.EqualFold(a.Name, name) })
	if i < 0 {
		return Alert{}, false
	}
	return b[i], true
}

// rulesFile is as much of Prometheus' format as is read here.
type rulesFile struct {
	Groups []struct {
		Rules []struct {
			Alert       string            `yaml:"alert"`
			Expr        string            `yaml:"expr"`
			Labels      map[string]string `yaml:"labels"`
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"rules"`
	} `yaml:"groups"`
}

// Read reads the alerts of rules/*.yml and the runbooks that they name.
func Read(files fs.FS) (Book, error) {
	names, err := fs.Glob(files, "rules/*.yml")
	if err != nil {
		return nil, err
	}
	var book Book
	for _, name := range names {
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		var rules rulesFile
		if err := yaml.Unmarshal(content, &rules); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, group := range rules.Groups {
			for _, r := range group.Rules {
				if r.Alert == "" || r.Labels["severity"] == promapi.SeverityNone {
					continue
				}
				alert := Alert{
					Name: r.Alert, Severity: r.Labels["severity"], Summary: r.Annotations["summary"], Expr: strings.TrimSpace(r.Expr),
					Runbook: path.Base(r.Annotations["runbook_url"]),
				}
				text, err := fs.ReadFile(files, path.Join("runbooks", alert.Runbook))
				if err != nil {
					return nil, fmt.Errorf("runbook of %s: %w", alert.Name, err)
				}
				alert.Sections, alert.Queries = parseRunbook(text)
				book = append(book, alert)
			}
		}
	}
	slices.SortFunc(book, func(a, b Alert) int { return strings.Compare(a.Name, b.Name) })
	return book, nil
}

// parseRunbook splits a runbook at its headings and finds its queries: the lines
// of its blocks of promql. What stands behind a # is for people.
func parseRunbook(text []byte) (sections map[string]string, queries []Query) {
	sections = map[string]string{}
	for i, part := range bytes.Split(text, []byte("\n## ")) {
		if i == 0 {
			continue // the title
		}
		heading, body, _ := strings.Cut(string(part), "\n")
		sections[strings.TrimSpace(heading)] = strings.TrimSpace(body)
	}
	for _, block := range regexp.MustCompile("(?ms)^```promql\n(.*?)^```$").FindAllSubmatch(text, -1) {
		for line := range strings.Lines(string(block[1])) {
			expr, comment, _ := strings.Cut(line, " #")
			if expr = strings.TrimSpace(expr); expr != "" {
				queries = append(queries, Query{expr, strings.TrimSpace(comment)})
			}
		}
	}
	return sections, queries
}
