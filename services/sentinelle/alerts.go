package sentinelle

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/i18n"
	"github.com/vigie-dev/vigie/internal/promapi"
	"github.com/vigie-dev/vigie/monitoring"
)

// Alert is one that fires, or will unless what it is about ends.
type Alert struct {
	Name        string            `json:"name"`
	State       string            `json:"state"` // firing or pending
	Severity    string            `json:"severity"`
	Summary     string            `json:"summary"`
	Description string            `json:"description"`
	Runbook     string            `json:"runbook"` // its name, "" for none
	Since       time.Time         `json:"since"`
	Labels      map[string]string `json:"labels"`
}

// Rule is an alert's rule.
type Rule struct {
	Name     string    `json:"name"`
	Group    string    `json:"group"`
	Severity string    `json:"severity"`
	Runbook  string    `json:"runbook"`
	State    string    `json:"state"` // firing, pending, inactive, or unknown
	Error    string    `json:"error,omitempty"`
	Looked   time.Time `json:"lastEvaluation"`
}

// alarms are the rules and what they say at one moment.
type alarms struct {
	Rules  []Rule  `json:"rules"`
	Alerts []Alert `json:"alerts"`
}

func askAlarms(ctx context.Context, from prometheus) (alarms, error) {
	groups, err := from.Rules(ctx)
	if err != nil {
		return alarms{}, err
	}
	var all alarms
	for group, rule := range promapi.Alerting(groups) {
		all.add(group, rule)
	}
	slices.SortStableFunc(all.Alerts, func(a, b Alert) int {
		return cmp.Or(cmp.Compare(promapi.Urgency(a.State, a.Severity), promapi.Urgency(b.State, b.Severity)), cmp.Compare(a.Name, b.Name), a.Since.Compare(b.Since))
	})
	return all, nil
}

func (a *alarms) add(group string, rule v1.AlertingRule) {
	severity := string(rule.Labels["severity"])
	r := Rule{
		Name: rule.Name, Group: group, Severity: severity, State: rule.State, Looked: rule.LastEvaluation,
		Runbook: runbookOf(string(rule.Annotations["runbook_url"])),
	}
	if rule.Health == v1.RuleHealthBad {
		r.State, r.Error = "unknown", rule.LastError
	}
	if rule.LastEvaluation.IsZero() {
		r.State = "unknown"
	}
	a.Rules = append(a.Rules, r)
	for _, active := range rule.Alerts {
		labels := promapi.Labels(active.Labels)
		a.Alerts = append(a.Alerts, Alert{
			Name: rule.Name, State: string(active.State), Severity: cmp.Or(labels["severity"], severity),
			Summary: string(active.Annotations["summary"]), Description: string(active.Annotations["description"]),
			Runbook: runbookOf(string(active.Annotations["runbook_url"])), Since: active.ActiveAt, Labels: labels,
		})
	}
}

// Firing says whether it does, and not only may soon.
func (a Alert) Firing() bool { return a.State == string(v1.AlertStateFiring) }

// runbookOf is the name of the runbook that an address leads to.
func runbookOf(address string) string {
	name, found := strings.CutSuffix(path.Base(address), ".md")
	if !found {
		return ""
	}
	return name
}

// firing counts those that fire.
func (a alarms) firing() (n int) {
	for _, alert := range a.Alerts {
		if alert.Firing() {
			n++
		}
	}
	return n
}

// repository is where documents are that the page does not carry.
const repository = "https://github.com/vigie-dev/vigie/blob/main/monitoring/runbooks/"

// errNoRunbook: no alert has a runbook of that name.
var errNoRunbook = i18n.Errorf("no such runbook")

// runbooks are the pages that say what to do about an alert.
type runbooks struct {
	files    fs.FS // monitoring.Files
	markdown goldmark.Markdown
}

// newRunbooks makes a reader of the runbooks. HTML in them is left out: only what
// Markdown says is shown.
func newRunbooks(files fs.FS) *runbooks {
	tables := extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignNone)) // no styles inline
	transformers := parser.WithASTTransformers(util.Prioritized(links{}, 1), util.Prioritized(french{}, 2))
	return &runbooks{files, goldmark.New(goldmark.WithExtensions(tables), goldmark.WithParserOptions(parser.WithAutoHeadingID(), transformers))}
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

// inFrench begins the paragraph of a runbook that says in French what it is about, in
// one pair of stars.
const inFrench = "*En français : "

// gist is what a runbook says in a reader's language, without marks; "" where that is English.
func gist(in *i18n.Language, name string) string {
	source, err := fs.ReadFile(monitoring.Files, "runbooks/"+path.Base(name)+".md")
	if err != nil || in.Name() != "fr" {
		return ""
	}
	_, after, _ := strings.Cut(string(source), inFrench)
	said, _, found := strings.Cut(after, "*\n\n")
	if !found {
		return ""
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(said, "`", "")), " ")
}

// french marks what a runbook says in French under its title as French, for those
// who have the page read aloud or translated.
type french struct{}

// Transform implements [parser.ASTTransformer].
func (french) Transform(document *ast.Document, reader text.Reader, _ parser.Context) {
	for block := document.FirstChild(); block != nil; block = block.NextSibling() {
		if block.Kind() == ast.KindParagraph && bytes.HasPrefix(block.Lines().Value(reader.Source()), []byte(inFrench)) {
			block.SetAttributeString("lang", []byte("fr"))
		}
	}
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

// serveAlerts takes the requests that are about alerts.
func (p *page) serveAlerts(router *httpapi.Router) {
	texts := newRunbooks(monitoring.Files)
	router.Handle("GET /alerts", p.alerts)
	router.Handle("GET /runbooks/{name}", func(w http.ResponseWriter, r *http.Request) { p.runbook(w, r, texts) })
}

func (p *page) alerts(w http.ResponseWriter, r *http.Request) {
	s := p.lookout.Now(r.Context())
	w.Header().Set("Vary", "Accept")
	if !httpapi.WantsPage(r) {
		answer := map[string]any{"alerts": orEmpty(s.Alarms.Alerts), "rules": orEmpty(s.Alarms.Rules), "leftOut": orEmpty(p.around.LeftOut), "known": s.knows(partAlerts)}
		httpapi.WriteJSON(w, http.StatusOK, answer)
		return
	}
	p.show(w, r, http.StatusOK, "alerts", frame{Title: i18n.Textf("Alerts"), Body: p.look(s)})
}

func (p *page) runbook(w http.ResponseWriter, r *http.Request, texts *runbooks) {
	name := r.PathValue("name")
	text, err := texts.render(name)
	if err != nil {
		p.failed(w, r, http.StatusNotFound, i18n.Textf("No such runbook"), err)
		return
	}
	p.show(w, r, http.StatusOK, "runbook", frame{Title: i18n.Verbatim(name), Here: "alerts", Body: text})
}
