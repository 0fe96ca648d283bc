package sentinelle

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// repository is where documents are that the page does not carry.
const repository = "https://github.com/vigie-dev/vigie/blob/main/monitoring/runbooks/"

// errNoRunbook: no alert has a runbook of that name.
var errNoRunbook = errors.New("no such runbook")

// runbooks are the pages that say what to do about an alert.
type runbooks struct {
	files    fs.FS // monitoring.Files
	markdown goldmark.Markdown
}

// newRunbooks makes a reader of the runbooks. HTML in them is left out: only what
// Markdown says is shown.
func newRunbooks(files fs.FS) *runbooks {
	tables := extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignNone)) // no styles inline
	return &runbooks{files, goldmark.New(goldmark.WithExtensions(tables),
		goldmark.WithParserOptions(parser.WithAutoHeadingID(), parser.WithASTTransformers(util.Prioritized(links{}, 1))))}
}

// names returns the runbooks' names.
func (r *runbooks) names() []string {
	found, _ := fs.Glob(r.files, "runbooks/*.md") // the pattern is right
	names := make([]string, 0, len(found))
	for _, file := range found {
		if name := strings.TrimSuffix(path.Base(file), ".md"); name != "README" {
			names = append(names, name)
		}
	}
	return names
}

// render returns a runbook as HTML.
func (r *runbooks) render(name string) (template.HTML, error) {
	if !slices.Contains(r.names(), name) {
		return "", errNoRunbook
	}
	source, err := fs.ReadFile(r.files, "runbooks/"+name+".md")
	if err != nil {
		return "", fmt.Errorf("read runbook %s: %w", name, err)
	}
	var page bytes.Buffer
	if err := r.markdown.Convert(source, &page); err != nil {
		return "", fmt.Errorf("render runbook %s: %w", name, err)
	}
	return template.HTML(page.String()), nil //nolint:gosec // goldmark's, which leaves raw HTML and dangerous addresses out
}

// links has links lead to where the page has what they name, else to the
// repository.
type links struct{}

// Transform implements [parser.ASTTransformer].
func (links) Transform(document *ast.Document, _ text.Reader, _ parser.Context) {
	_ = ast.Walk(document, func(node ast.Node, entering bool) (ast.WalkStatus, error) {
		if link, ok := node.(*ast.Link); ok && entering {
			link.Destination = []byte(linked(string(link.Destination)))
		}
		return ast.WalkContinue, nil
	})
}

func linked(destination string) string {
	u, err := url.Parse(destination)
	if err != nil || u.IsAbs() || u.Path == "" {
		return destination
	}
	if regexp.MustCompile(`^[A-Za-z]+\.md$`).MatchString(u.Path) && u.Path != "README.md" {
		u.Path = "/runbooks/" + strings.TrimSuffix(u.Path, ".md")
		return u.String()
	}
	base, _ := url.Parse(repository) // it is one
	return base.ResolveReference(u).String()
}
