// Package docs_test checks the written documents against the repository: code
// that they quote compiles, files that they link exist, and commands that they
// name are there.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	root    = ".."
	readme  = "README.md"
	example = "telemetry/example_addmetric_test.go"
)

// The README's worked example is a part of a file that is compiled and run.
func TestReadmeQuotesTheExample(t *testing.T) {
	source := between(t, read(t, example), "// README begins\n", "// README ends\n")
	quoted := between(t, read(t, readme), "<!-- from "+example+" -->\n```go\n", "```\n")
	if diff := cmp.Diff(strings.TrimSpace(source), strings.TrimSpace(quoted)); diff != "" {
		t.Errorf("%s and %s differ (-example +README):\n%s", example, readme, diff)
	}
}

func TestLinksPointToFilesAndSections(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	checked := 0
	for _, document := range documents(t) {
		for _, match := range link.FindAllStringSubmatch(read(t, document), -1) {
			target, section, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, ":") { // elsewhere
				continue
			}
			checked++
			path := document
			if target != "" {
				path = filepath.Join(filepath.Dir(document), target)
			}
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Errorf("%s links to %s, which is not there", document, match[1])
			} else if section != "" && strings.HasSuffix(path, ".md") && !sections(t, path)[section] {
				t.Errorf("%s links to %s, which has no such section", document, match[1])
			}
		}
	}
	if checked == 0 {
		t.Error("no link was found")
	}
}

// sections returns the names by which a document's headings are linked.
func sections(t *testing.T, document string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	dropped := regexp.MustCompile("[^\\p{L}\\p{N} _-]")
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(read(t, document), -1) {
		name := dropped.ReplaceAllString(strings.ToLower(heading[1]), "")
		names[strings.ReplaceAll(name, " ", "-")] = true
	}
	for _, anchor := range regexp.MustCompile(`<a id="([^"]+)">`).FindAllStringSubmatch(read(t, document), -1) {
		names[anchor[1]] = true
	}
	return names
}

func TestReadmeNamesTargetsOfTheMakefile(t *testing.T) {
	targets := makeTargets(t)
	named := regexp.MustCompile("(?m)(?:^|`)make ([a-z][a-z0-9-]*)").FindAllStringSubmatch(read(t, readme), -1)
	if len(named) == 0 {
		t.Error("no target is named")
	}
	for _, match := range named {
		family, _, _ := strings.Cut(match[1], "-")
		if !targets[match[1]] && !targets[family+"-%"] {
			t.Errorf("%s names `make %s`, the Makefile has no such target", readme, match[1])
		}
	}
}

// makeTargets returns the targets that the Makefile spells out, those of a
// pattern as the pattern.
func makeTargets(t *testing.T) map[string]bool {
	t.Helper()
	targets := map[string]bool{}
	rule := regexp.MustCompile(`(?m)^([a-z][a-z0-9% -]*?) *:(?:[^=:]|$)`)
	for _, match := range rule.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		for _, name := range strings.Fields(match[1]) {
			targets[name] = true
		}
	}
	return targets
}

// documents returns README.md and every Markdown file under docs, as paths
// below the root.
func documents(t *testing.T) []string {
	t.Helper()
	found := []string{readme}
	err := fs.WalkDir(os.DirFS(root), "docs", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".md" {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// read returns a file of the repository. Line ends are LF wherever it was
// checked out.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// between returns the text between two markers. Either of them missing ends
// the test.
func between(t *testing.T, text, begin, end string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, begin)
	if !found {
		t.Fatalf("marker %q is not there", begin)
	}
	part, _, found := strings.Cut(rest, end)
	if !found {
		t.Fatalf("marker %q is not there", end)
	}
	return part
}
