package docs_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	tables "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
)

const inFrench = ".fr.md"

// The French documents say what the English ones say: section by section and block
// by block they have the same commands, samples, links, names and figures.
func TestFrenchDocumentsAreAsTheEnglish(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "*"+inFrench))
	if err != nil || len(files) < 2 {
		t.Fatalf("%d French documents, %v", len(files), err)
	}
	all := shelf{}
	for _, file := range files {
		name := filepath.Base(file)
		all[name], all[english(name)] = read(t, name), read(t, english(name))
	}
	for name := range all {
		if name == english(name) {
			for _, difference := range all.differences(name) {
				t.Error(difference)
			}
		}
	}
}

// What the comparison sees, and what it leaves to the translator.
func TestWhatTwoLanguagesMayNotDifferIn(t *testing.T) {
	const document = "# Title\n\n[other](B.md#one)\n\n## Run\n\n`make` takes 1.5 s, by commande:\n\n```sh\nmake run  # start\n```\n\n" +
		"| a | b |\n| - | - |\n| [x](x.md) | y |\n\n- [up](#title)\n- `z`\n"
	const translated = "# Titre\n\n[autre](B.fr.md#un)\n\n## Lancer\n\nIl faut 1,5 s à `make`, par `commande` :\n\n```sh\nmake run  # démarrer\n```\n\n" +
		"| a | b |\n| - | - |\n| [ici](x.md) | y |\n\n- [haut](#titre)\n- `z`\n"
	for _, tt := range []struct{ name, old, new, want string }{
		{"nothing", "", "", ""},
		{"a command", "make run", "make demo", "make demo"},
		{"a figure", "1,5 s", "1,6 s", `"1.6"`},
		{"a name", "`z`", "`w`", `"w"`},
		{"a link", "(x.md)", "(y.md)", "y.md"},
		{"a link to the other language", "B.fr.md#un", "B.md#one", "in the other language"},
		{"a link to another section", "#titre", "#lancer", "section 2"},
		{"a link to no section", "#titre", "#title", "no section"},
		{"a row", "| [ici](x.md) | y |\n", "", "x.md"},
		{"an item", "- `z`\n", "", `"z"`},
		{"a paragraph", "## Lancer\n", "## Lancer\n\nEncore.\n", "Paragraph"},
		{"a heading", "## Lancer\n", "## Lancer\n\n## Encore\n", "## Encore"},
		{"a level", "## Lancer\n", "### Lancer\n", "### Lancer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(shelf{
				"A.md": document, "A.fr.md": strings.Replace(translated, tt.old, tt.new, 1), "B.md": "# One\n", "B.fr.md": "# Un\n",
			}.differences("A.md"), "\n")
			if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
				t.Errorf("differences %q, want one with %q", got, tt.want)
			}
		})
	}
}

// shelf is documents in two languages, by their names.
type shelf map[string]string

// english returns the name of the English document of which this is one language.
func english(name string) string {
	if base, ok := strings.CutSuffix(name, inFrench); ok {
		return base + ".md"
	}
	return name
}

// french returns the name of the French document of which this is one language.
func french(name string) string { return strings.TrimSuffix(english(name), ".md") + inFrench }

// section is a heading and what stands under it.
type section struct {
	Heading string // as it is written, with its number signs
	Parts   []part
}

// part is a block, an item of a list or a row of a table, without its words.
type part struct {
	Kind    string
	Code    string   // of a block of code, without the comments where it is a command
	Links   []string // in the order of the English words, which no other language has to keep: sorted
	Names   []string // between backticks, each once
	Figures []string // sorted
}

// differences tells in what the French document is not the English one's.
func (s shelf) differences(name string) []string {
	ours, theirs := s.sections(name), s.sections(french(name))
	level := func(heading string) string { marks, _, _ := strings.Cut(heading, " "); return marks }
	if !slices.EqualFunc(ours, theirs, func(a, b section) bool { return level(a.Heading) == level(b.Heading) }) {
		headings := func(sections []section) (lines []string) {
			for _, s := range sections {
				lines = append(lines, s.Heading)
			}
			return lines
		}
		return []string{fmt.Sprintf("%s has not the headings of %s:\n%q\n%q", french(name), name, headings(theirs), headings(ours))}
	}
	var found []string
	for i := range ours {
		if diff := cmp.Diff(ours[i].Parts, theirs[i].Parts); diff != "" {
			found = append(found, fmt.Sprintf("%s, %q, is not as %s, %q (-English +French):\n%s", french(name), theirs[i].Heading, name, ours[i].Heading, diff))
		}
	}
	return found
}

func (s shelf) sections(name string) []section {
	source := []byte(s[name])
	sections := []section{{}}
	document := goldmark.New(goldmark.WithExtensions(extension.Table)).Parser().Parse(text.NewReader(source))
	for block := document.FirstChild(); block != nil; block = block.NextSibling() {
		last := &sections[len(sections)-1]
		switch block := block.(type) {
		case *ast.Heading:
			sections = append(sections, section{Heading: strings.Repeat("#", block.Level) + " " + string(block.Lines().Value(source))})
		case *ast.List, *tables.Table:
			for child := block.FirstChild(); child != nil; child = child.NextSibling() {
				last.Parts = append(last.Parts, s.part(name, child))
			}
		default:
			last.Parts = append(last.Parts, s.part(name, block))
		}
	}
	return sections
}

func (s shelf) part(name string, node ast.Node) part {
	comment := regexp.MustCompile(`(?m)(^|[ \t]+)#[ \t].*$`)
	figure := regexp.MustCompile(`\d+(?:[.,]\d+)*`)
	// The services' names are words in French, and stand between backticks to be told from them.
	service := regexp.MustCompile(`^(?:commande|paiement|suivi|analyseur|sentinelle)$`)
	source := []byte(s[name])
	found := part{Kind: node.Kind().String()}
	switch node := node.(type) {
	case *ast.FencedCodeBlock:
		found.Kind += " " + string(node.Language(source))
		found.Code = string(node.Lines().Value(source))
		if string(node.Language(source)) == "sh" {
			found.Code = comment.ReplaceAllString(found.Code, "")
		}
	case *ast.HTMLBlock:
		found.Code = string(node.Lines().Value(source))
	}
	_ = ast.Walk(node, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.CodeSpan:
			if span := plain(n, source); !service.MatchString(span) {
				found.Names = append(found.Names, span)
			}
			return ast.WalkSkipChildren, nil
		case *ast.Link:
			found.Links = append(found.Links, s.target(name, string(n.Destination)))
		case *ast.Image:
			found.Links = append(found.Links, "image "+string(n.Destination))
		case *ast.AutoLink:
			found.Links = append(found.Links, string(n.URL(source)))
		case *ast.Text:
			for _, digits := range figure.FindAllString(string(n.Value(source)), -1) {
				found.Figures = append(found.Figures, strings.ReplaceAll(digits, ",", "."))
			}
		}
		return ast.WalkContinue, nil
	})
	slices.Sort(found.Links)
	slices.Sort(found.Names)
	found.Names = slices.Compact(found.Names)
	slices.Sort(found.Figures)
	return found
}

// target returns where a link leads in words that are the same in all languages: a
// document in the same language or in the other one, a section by its number.
func (s shelf) target(from, destination string) string {
	name, anchor, _ := strings.Cut(destination, "#")
	if name == "" {
		name = from
	}
	if s[english(name)] == "" || s[french(name)] == "" {
		return destination
	}
	where := english(name)
	if (name == english(name)) != (from == english(from)) {
		where += " in the other language"
	}
	if anchor != "" {
		n := slices.Index(s.anchors(name), anchor)
		if n < 0 {
			return where + ", no section " + anchor
		}
		where += fmt.Sprintf(", section %d", n+1)
	}
	return where
}

// anchors returns by which names a document's headings are linked, in their order.
func (s shelf) anchors(name string) []string {
	var anchors []string
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(s[name], -1) {
		anchors = append(anchors, anchorOf(heading[1]))
	}
	return anchors
}

// plain returns the text in a node.
func plain(node ast.Node, source []byte) string {
	var b strings.Builder
	for child := node.FirstChild(); child != nil; child = child.NextSibling() {
		if child, ok := child.(*ast.Text); ok {
			b.Write(child.Value(source))
		}
	}
	return strings.ReplaceAll(b.String(), "\n", " ")
}
