// Package docs_test checks the written documents against the repository, so that
// they stay true when something moves: code that they quote compiles, files that
// they link or name exist, commands and tests that they name are there, and
// packages import what the architecture says.
package docs_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/fault"
	"github.com/vigie-dev/vigie/internal/record"
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
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(read(t, document), -1) {
		names[anchorOf(heading[1])] = true
	}
	for _, anchor := range regexp.MustCompile(`<a id="([^"]+)">`).FindAllStringSubmatch(read(t, document), -1) {
		names[anchor[1]] = true
	}
	return names
}

// anchorOf returns the name by which a heading is linked.
func anchorOf(heading string) string {
	kept := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading), "")
	return strings.ReplaceAll(kept, " ", "-")
}

// A test that only the integration tests' build has is run by a target, or by nobody.
func TestIntegrationTestsAreRunByATarget(t *testing.T) {
	makefile, found := read(t, "Makefile"), 0
	built := regexp.MustCompile(`(?m)^//go:build (?:.* )?integration\b(?s:.*)^func Test`)
	for _, pattern := range []string{"../*/*/*_test.go", "../*/*/*/*_test.go", "../*/*_test.go"} {
		tests, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range tests {
			text, err := os.ReadFile(test)
			if err != nil {
				t.Fatal(err)
			}
			if !built.Match(text) {
				continue
			}
			found++
			folder := "." + strings.TrimPrefix(filepath.ToSlash(filepath.Dir(test)), "..")
			above := folder[:strings.LastIndexByte(folder, '/')] + "/..."
			module := strings.TrimPrefix(folder, "./") // go -C MODULE test ./...
			if named := strings.Fields(makefile); !slices.Contains(named, folder) && !slices.Contains(named, above) && !slices.Contains(named, module) {
				t.Errorf("no target of the Makefile runs the integration tests in %s", folder)
			}
		}
	}
	if found == 0 {
		t.Error("there is no integration test")
	}
}

func TestTargetsOfTheMakefileThatAreNamedExist(t *testing.T) {
	targets := makeTargets(t)
	command := regexp.MustCompile("(?m)(?:^|`)make ([a-z][a-z0-9-]*)")
	named := 0
	for _, document := range documents(t) {
		for _, match := range command.FindAllStringSubmatch(read(t, document), -1) {
			named++
			family, _, _ := strings.Cut(match[1], "-")
			if !targets[match[1]] && !targets[family+"-%"] {
				t.Errorf("%s names `make %s`, the Makefile has no such target", document, match[1])
			}
		}
	}
	if named == 0 {
		t.Error("no target is named")
	}
}

// A path or a test between backticks is one of the repository, as is a Go file
// without its folder.
func TestPathsAndTestsThatAreNamedExist(t *testing.T) {
	quoted := regexp.MustCompile("`([^`\n]+)`")
	path := regexp.MustCompile(`(?:^|\s)(?:\./)?((?:cmd|docs|internal|monitoring|services|telemetry|test|tools)/[\w./*-]*)`)
	single := regexp.MustCompile(`^(?:\w+\.go|(?:Test|Benchmark|Fuzz)\w+)$`)
	release := regexp.MustCompile(`/v\d`) // a tag of a module, not a file
	invented := map[string]bool{"services/archive": true}
	files, functions := goNames(t)
	checked := 0
	for _, document := range documents(t) {
		for _, match := range quoted.FindAllStringSubmatch(read(t, document), -1) {
			for _, p := range path.FindAllStringSubmatch(match[1], -1) {
				name := strings.TrimRight(strings.TrimSuffix(p[1], "..."), "/.")
				if release.MatchString(name) || invented[name] {
					continue
				}
				checked++
				if found, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(name))); err != nil || len(found) == 0 {
					t.Errorf("%s names %s, which is not there", document, p[1])
				}
			}
			if name := single.FindString(match[1]); name != "" && !files[name] && !functions[name] {
				t.Errorf("%s names %s, which is not there", document, name)
			}
		}
	}
	if checked == 0 {
		t.Error("no path is named")
	}
}

// A package whose first page maps its files names every file that it compiles,
// and no other. In a package of tests alone, all are; elsewhere they stand beside
// what they test. A name may have a star. The page of test/system says after what
// its files are named, in place of naming them.
func TestPackagesMapTheirFiles(t *testing.T) {
	page := regexp.MustCompile(`(?m)((?:^//.*\n)+)package \w+$`)
	named := regexp.MustCompile(`[\w*]+\.go\b`)
	checked := 0
	for folder, files := range goFiles(t) {
		if folder == "test/system" {
			continue
		}
		code := slices.DeleteFunc(slices.Clone(files), func(name string) bool { return strings.HasSuffix(name, "_test.go") })
		if len(code) == 0 {
			code = files
		}
		for _, file := range code {
			first := page.FindStringSubmatch(read(t, filepath.Join(folder, file)))
			if first == nil {
				continue
			}
			patterns := named.FindAllString(first[1], -1)
			if len(patterns) == 0 {
				continue
			}
			checked++
			missing := slices.DeleteFunc(slices.Clone(code), func(name string) bool {
				return name == file || slices.ContainsFunc(patterns, func(p string) bool { ok, _ := filepath.Match(p, name); return ok })
			})
			if len(missing) > 0 {
				t.Errorf("%s/%s, which maps the package's files, does not name %s", folder, file, missing)
			}
			for _, p := range patterns {
				if !slices.ContainsFunc(files, func(name string) bool { ok, _ := filepath.Match(p, name); return ok }) {
					t.Errorf("%s/%s names %s, which is not there", folder, file, p)
				}
			}
		}
	}
	if checked == 0 {
		t.Error("no package maps its files")
	}
}

// The table of packages names what each imports, of this repository. Rows that say
// it in words have no backticks, or a `*`, and are left to the reader, as is what
// stands behind a semicolon.
func TestTheTableOfPackagesIsTrue(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| `([\\w/]+)` \\| .* \\| ([^|]*) \\|$")
	name := regexp.MustCompile("`([\\w/]+)`")
	section := between(t, read(t, "docs/architecture.md"), "## Packages and who may import whom\n", "## Adding a service\n")
	checked := 0
	for _, match := range row.FindAllStringSubmatch(section, -1) {
		cell, _, _ := strings.Cut(match[2], ";")
		if cell != "nothing" && (!strings.HasPrefix(cell, "`") || strings.Contains(cell, "*")) {
			continue
		}
		want := []string{}
		for _, named := range name.FindAllStringSubmatch(cell, -1) {
			want = append(want, named[1])
		}
		slices.Sort(want)
		checked++
		if diff := cmp.Diff(want, imports(t, match[1])); diff != "" {
			t.Errorf("docs/architecture.md does not name what %s imports (-document +code):\n%s", match[1], diff)
		}
	}
	if checked == 0 {
		t.Error("no package is named")
	}
}

// imports returns what the Go files of a folder import of this repository, but
// for tests and the library's own internal packages, as the table names it.
func imports(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(folder), "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d Go files, %v", folder, len(files), err)
	}
	found := []string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			path, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), "github.com/vigie-dev/vigie/")
			if ours && !strings.HasPrefix(path, "telemetry/internal/") {
				found = append(found, strings.TrimPrefix(path, "internal/"))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// Who looks for a package finds it: where code goes, in the diagram or the
// sentence below it, and in the table.
func TestEveryPackageHasItsPlace(t *testing.T) {
	contributing := between(t, read(t, "CONTRIBUTING.md"), "## Where code goes\n", "\n## ")
	packages := between(t, read(t, "docs/architecture.md"), "## Packages and who may import whom\n", "## Adding a service\n")
	diagram, table, _ := strings.Cut(packages, "\n| package |")
	rooms := map[string]bool{}
	for folder := range goFiles(t) {
		parts := strings.Split(folder, "/")
		switch parts[0] {
		case "internal", "cmd":
			rooms[strings.Join(parts[:2], "/")] = true
		case "services", "telemetry", "monitoring":
			rooms[parts[0]] = true
		}
	}
	if len(rooms) < 10 {
		t.Fatalf("found %v", rooms)
	}
	for room := range rooms {
		for where, text := range map[string]string{"CONTRIBUTING.md": contributing, "the table in docs/architecture.md": table} {
			if !strings.Contains(text, "`"+room+"`") && !strings.Contains(text, "`"+room+"/") {
				t.Errorf("%s does not name %s", where, room)
			}
		}
		if name := regexp.MustCompile(`\b` + filepath.Base(room) + `\b`); !name.MatchString(diagram) {
			t.Errorf("the diagram in docs/architecture.md and the text below it do not name %s", room)
		}
	}
}

// What the code lists, the documents list too, all of it: fault steps and a dead
// letter's headers in the code's order, reasons by their classes.
func TestListsInTheDocumentsAreTheCodes(t *testing.T) {
	quoted := regexp.MustCompile("`([\\w-]+)`")
	var steps, headers []string
	for _, step := range fault.Steps() {
		steps = append(steps, string(step))
	}
	for _, header := range (record.Origin{}).Headers() {
		headers = append(headers, header.Key)
	}
	for _, tt := range []struct {
		document, begin, end string
		want                 []string
	}{
		{"docs/architecture.md", "comes to a step (", ")", steps},
		{"docs/architecture.md", "(key, value, headers) with the headers ", " before the original ones", headers},
		{"docs/dead-letters.md", "always these ten and in this order: ", ";", headers},
	} {
		list := between(t, read(t, tt.document), tt.begin, tt.end)
		var got []string
		for _, name := range quoted.FindAllStringSubmatch(list, -1) {
			got = append(got, name[1])
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s after %q (-code +document):\n%s", tt.document, tt.begin, diff)
		}
	}
	var reasons []string
	for row := range strings.Lines(between(t, read(t, "docs/dead-letters.md"), "| reasons |\n", "\n\n")) {
		cells := strings.Split(row, "|")
		for _, name := range quoted.FindAllStringSubmatch(cells[len(cells)-2], -1) {
			reasons = append(reasons, name[1])
		}
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(delivery.Reasons())), slices.Sorted(slices.Values(reasons))); diff != "" {
		t.Errorf("docs/dead-letters.md, the reasons in the table of classes (-code +document):\n%s", diff)
	}
}

// Every module that the command is built from here has its licence listed; that the
// licence is the module's own is checked by make lint.
func TestLicencesNameEveryModule(t *testing.T) {
	listed := read(t, "docs/licences.md")
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{if not (or .Main .Replace)}}{{.Path}}{{end}}{{end}}", "./cmd/vigie")
	cmd.Dir = root
	modules, err := cmd.Output()
	if err != nil || len(modules) == 0 {
		t.Fatal(err)
	}
	for _, module := range slices.Compact(slices.Sorted(strings.FieldsSeq(string(modules)))) {
		if !strings.Contains(listed, "\n- "+module+"\n") {
			t.Errorf("docs/licences.md does not name %s: make licences writes it again", module)
		}
	}
}

// What runs on GitHub is named by commit: a tag can be moved.
func TestActionsArePinned(t *testing.T) {
	workflows, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*.yml"))
	if err != nil || len(workflows) == 0 {
		t.Fatalf("%d workflows, %v", len(workflows), err)
	}
	pinned := regexp.MustCompile(`^\S+@[0-9a-f]{40} # v\d`)
	for _, file := range workflows {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, uses := range regexp.MustCompile(`uses: (.*)`).FindAllStringSubmatch(string(text), -1) {
			if !pinned.MatchString(uses[1]) {
				t.Errorf("%s uses %s", filepath.Base(file), uses[1])
			}
		}
	}
}

func TestTheReadmeNamesTheOldestGo(t *testing.T) {
	release := between(t, read(t, "go.mod"), "\ngo ", "\n")
	if want := "Go " + release + " or newer"; !strings.Contains(read(t, readme), want) {
		t.Errorf("%s does not say %q, as go.mod does", readme, want)
	}
}

// The README's samples are of one run: what they show of an order is of the same
// order, so a reader can follow its trace from one to the next.
func TestTheReadmesSamplesAreOfOneRun(t *testing.T) {
	text := read(t, readme)
	traces := regexp.MustCompile(`\b[0-9a-f]{32}\b`).FindAllString(text, -1)
	if len(traces) < 4 || len(slices.Compact(slices.Sorted(slices.Values(traces)))) != 1 {
		t.Errorf("%s shows the traces %v, want one in its log, exemplar and story", readme, traces)
	}
	spans := regexp.MustCompile(`order created .* span_id=(\w{16})`).FindStringSubmatch(text)
	if spans == nil || !strings.Contains(text, `span_id="`+spans[1]+`"`) {
		t.Errorf("%s: the exemplar is not of the line in the log", readme)
	}
}

// goNames returns the names of all Go files, and of all functions that a file
// of tests declares.
func goNames(t *testing.T) (files, functions map[string]bool) {
	t.Helper()
	files, functions = map[string]bool{}, map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`)
	for folder, names := range goFiles(t) {
		for _, name := range names {
			files[name] = true
			if !strings.HasSuffix(name, "_test.go") {
				continue
			}
			for _, match := range function.FindAllStringSubmatch(read(t, filepath.Join(folder, name)), -1) {
				functions[match[1]] = true
			}
		}
	}
	return files, functions
}

// goFiles returns the names of the Go files in each folder, in order.
func goFiles(t *testing.T) map[string][]string {
	t.Helper()
	files := map[string][]string{}
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "data"):
			return fs.SkipDir
		case !entry.IsDir() && filepath.Ext(path) == ".go":
			folder := filepath.ToSlash(filepath.Dir(path))
			files[folder] = append(files[folder], entry.Name())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
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

// documents returns the Markdown files at the root but for the change log, which
// names what is gone, and every one under docs and monitoring, as paths below the
// root.
func documents(t *testing.T) []string {
	t.Helper()
	found := []string{readme, "README.fr.md", "CONTRIBUTING.md", "MONITORING.md", "MONITORING.fr.md", "SECURITY.md"}
	for _, folder := range []string{"docs", "monitoring"} {
		err := fs.WalkDir(os.DirFS(root), folder, func(path string, _ fs.DirEntry, err error) error {
			if err == nil && filepath.Ext(path) == ".md" {
				found = append(found, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
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
