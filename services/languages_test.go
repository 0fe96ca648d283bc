package services_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template/parse"

	"github.com/vigie-dev/vigie/internal/faults"
	"github.com/vigie-dev/vigie/internal/i18n"
	"github.com/vigie-dev/vigie/internal/journeys"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/probe"
	"github.com/vigie-dev/vigie/internal/verdicts"
	"github.com/vigie-dev/vigie/services"
	"github.com/vigie-dev/vigie/services/paiement"
	"github.com/vigie-dev/vigie/services/sentinelle"
)

// Every sentence of the page has its like in every language, with the same figures and
// names in it, and no language has one that nobody says.
func TestEveryLanguageSaysEverything(t *testing.T) {
	said := saidSomewhere(t)
	for _, name := range sentinelle.Languages()[1:] {
		text, err := os.ReadFile(filepath.Join("sentinelle", "languages", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var sentences map[string]i18n.Sentence
		if err := json.Unmarshal(text, &sentences); err != nil {
			t.Fatal(err)
		}
		for _, difference := range differences(said, sentences) {
			t.Errorf("%s: %s", name, difference)
		}
	}
}

// What the comparison notices.
func TestWhatALanguageLacks(t *testing.T) {
	said := map[string]bool{"%s waits: %d s": true}
	for sentences, want := range map[string]string{
		`{"%s waits: %d s": "%s attend\u00a0: %d s"}`:                         "",
		`{"%s waits: %d s": "%[2]d s\u00a0: %[1]s attend"}`:                   "",
		`{"%s waits: %d s": {"of": 2, "one": "%s, %d", "other": "%s et %d"}}`: "",
		`{}`: "does not say",
		`{"%s waits: %d s": "%s attend %d s", "gone": "parti"}`:           "nobody says",
		`{"%s waits: %d s": "%d attend %s s"}`:                            "other arguments",
		`{"%s waits: %d s": "%s attend"}`:                                 "other arguments",
		`{"%s waits: %d s": {"of": 2, "one": "%s", "other": "%s et %d"}}`: "other arguments",
		`{"%s waits: %d s": "%s attend : %d s"}`:                          "no space that stays",
	} {
		var read map[string]i18n.Sentence
		if err := json.Unmarshal([]byte(sentences), &read); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(differences(said, read), "; "); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", sentences, got, want)
		}
	}
}

func differences(said map[string]bool, sentences map[string]i18n.Sentence) (all []string) {
	for _, key := range slices.Sorted(maps.Keys(said)) {
		if _, ok := sentences[key]; !ok {
			all = append(all, "does not say "+strconv.Quote(key))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(sentences)) {
		if !said[key] {
			all = append(all, "nobody says "+strconv.Quote(key))
		}
		for _, text := range sentences[key].Forms {
			if want, got := arguments(key), arguments(text); !maps.Equal(want, got) {
				all = append(all, strconv.Quote(key)+" has other arguments as "+strconv.Quote(text))
			}
			if regexp.MustCompile(`[^\x{a0}][;?!»]|«[^\x{a0}]|[^\x{a0}]:( |$)`).MatchString(text) { // French marks stand apart
				all = append(all, "no space that stays before a mark of "+strconv.Quote(text))
			}
		}
	}
	return all
}

// arguments are the verbs of a sentence by the number of their argument.
func arguments(sentence string) map[int]string {
	all, next := map[int]string{}, 1
	for _, found := range regexp.MustCompile(`%(?:\[(\d+)\])?([-+# 0.\d]*)([a-zA-Z%])`).FindAllStringSubmatch(sentence, -1) {
		if found[3] == "%" {
			continue
		}
		if n, err := strconv.Atoi(found[1]); err == nil {
			next = n
		}
		all[next] = found[2] + found[3]
		next++
	}
	return all
}

// saidSomewhere are the English sentences that may be put into another language: those of
// code and templates, and those that are only put together when the program runs.
func saidSomewhere(t *testing.T) map[string]bool {
	t.Helper()
	said := map[string]bool{}
	for _, pattern := range []string{"sentinelle/*.go", "../internal/verdicts/*.go", "../internal/chart/*.go"} {
		for _, file := range glob(t, pattern) {
			if !strings.HasSuffix(file, "_test.go") {
				inCode(t, file, said)
			}
		}
	}
	for _, pattern := range []string{"sentinelle/web/*.html", "../internal/chart/*.html"} {
		for _, file := range glob(t, pattern) {
			inTemplate(t, file, said)
		}
	}
	for _, s := range services.All() {
		said[s.Does] = true
	}
	for _, f := range slices.Concat(faults.OfBroker(faults.NewGate(), nil), faults.OfStrangers(kafka.Config{}), (&paiement.Adjustable{}).Faults(),
		faults.OfStorage("", paiement.Name), []faults.Fault{faults.Flood("")}) {
		said[f.Does] = true
		if f.Leaves != "" {
			said[f.Leaves] = true
		}
	}
	for _, state := range verdicts.States() {
		said[string(state)] = true
	}
	for _, reason := range probe.Reasons() {
		said[string(reason)] = true
	}
	for _, outcome := range journeys.Outcomes() {
		said["%d "+strings.ReplaceAll(string(outcome), "_", " ")] = true
	}
	for _, word := range []string{
		string(verdicts.Sooner), string(verdicts.Steady), string(verdicts.Later),
		"ready", "not ready", "away", "not known", // services
		"kept", "burning", "used-up", "unknown", // objectives
		"firing", "pending", "inactive", "critical", "warning", "info", // alerts
		// Details of probes.
		"it was taken for an order like any other; no more are placed until the token or the process changes",
		"it stands among the dead letters; `vigie dlq list` says why",
		"its decision stands in the topics, and suivi does not show it",
		"it was accepted, and neither is a decision in the topics nor does suivi know it",
		"it was accepted, and no decision was seen",
	} {
		said[word] = true
	}
	return said
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v", pattern, files, err)
	}
	return files
}

// inCode finds the sentences that are given to the functions which make texts.
func inCode(t *testing.T, file string, said map[string]bool) {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(tree, func(node ast.Node) bool {
		call, ok := node.(*ast.CallExpr)
		if !ok {
			return true
		}
		name := ""
		switch f := call.Fun.(type) {
		case *ast.Ident:
			name = f.Name
		case *ast.SelectorExpr:
			name = f.Sel.Name
			if x, ok := f.X.(*ast.Ident); name == "Errorf" && (!ok || x.Name != "i18n") {
				return true
			}
		}
		if !slices.Contains([]string{"Textf", "Errorf", "Sayf", "Say", "plural"}, name) {
			return true
		}
		for i, arg := range call.Args {
			if literal, ok := arg.(*ast.BasicLit); ok && literal.Kind == token.STRING && (i == 0 || name == "plural") {
				key, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				said[strings.ReplaceAll(key, "%w", "%v")] = true
			}
		}
		return true
	})
}

// inTemplate finds the sentences that a template says.
func inTemplate(t *testing.T, file string, said map[string]bool) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	trees := map[string]*parse.Tree{}
	tree := parse.New(file)
	tree.Mode = parse.SkipFuncCheck
	if _, err := tree.Parse(string(text), "{{", "}}", trees); err != nil {
		t.Fatal(err)
	}
	for _, tree := range trees {
		for _, found := range regexp.MustCompile(`(?:say|\.Say) ("(?:[^"\\]|\\.)*")`).FindAllStringSubmatch(tree.Root.String(), -1) {
			key, err := strconv.Unquote(found[1])
			if err != nil {
				t.Fatal(err)
			}
			said[key] = true
		}
	}
}
