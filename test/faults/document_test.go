//go:build integration && unix

package faults_test

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/testenv/repo"
)

// Marks of the document between which the tables stand.
const (
	mark     = "<!-- make faults writes what follows -->\n"
	endMark  = "<!-- up to here -->\n"
	whatIs   = "| fault | what happens | alert | fires after | ends after | further pages | further tickets | the page said |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n"
	isNot    = "| what is no fault | what happens | pages | tickets | the page said |\n| --- | --- | --- | --- | --- |\n"
	nothing  = "–"
	lineMark = "| `"
)

// write puts what was measured into docs/faults.md, and keeps the rows that were not.
func write(t *testing.T, measured result) {
	t.Helper()
	path := repo.Path(t, "docs", "faults.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(text), mark)
	table, after, ends := strings.Cut(rest, endMark)
	if !begins || !ends {
		t.Fatalf("%s lacks %q or %q", path, mark, endMark)
	}
	lines := map[string]string{}
	for line := range strings.Lines(table) {
		if name, _, found := strings.Cut(strings.TrimPrefix(line, lineMark), "`"); found && strings.HasPrefix(line, lineMark) {
			lines[name] = line
		}
	}
	lines[measured.row.name] = measured.line()
	var fresh strings.Builder
	for i, section := range []string{whatIs, isNot} {
		fresh.WriteString("\n" + section)
		for _, r := range rows() {
			if isNone := r.alert == ""; isNone == (i == 1) {
				fresh.WriteString(lines[r.name])
			}
		}
	}
	if err := os.WriteFile(path, []byte(before+mark+fresh.String()+"\n"+endMark+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// line is a row of the table.
func (r result) line() string {
	seconds := func(d time.Duration) string { return fmt.Sprintf("%.0f s", d.Seconds()) }
	names := func(all []string) string {
		var short []string
		for _, name := range all {
			name, _, _ = strings.Cut(name, "{")
			short = append(short, name)
		}
		slices.Sort(short)
		return cmp.Or(strings.Join(slices.Compact(short), ", "), nothing)
	}
	does := strings.ReplaceAll(r.row.does, "|", "\\|")
	if r.row.alert == "" {
		return fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", r.row.name, does, names(r.pages), names(r.tickets), r.page)
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s | %s | %s |\n", r.row.name, does, r.row.alert, seconds(r.fired), seconds(r.resolved),
		names(r.pages), names(r.tickets), r.page)
}
