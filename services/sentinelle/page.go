package sentinelle

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"log/slog"
	"mime"
	"net/http"
	"path"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/faults"
	"github.com/vigie-dev/vigie/internal/groups"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/i18n"
	"github.com/vigie-dev/vigie/internal/service"
)

//go:embed web
var web embed.FS

// policy is the pages' Content-Security-Policy: everything comes from here.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// page answers browsers.
type page struct {
	around   service.Surroundings
	cluster  cluster
	version  string
	lookout  *lookout
	peers    *peers
	graphs   *graphs
	followed *followed
	way      *way
	views    map[string]*template.Template // by the page's name
	in       *i18n.Language                // of its people; nil for English
	log      *slog.Logger
	now      func() time.Time
	renderer renderer
}

// cluster is what is known of the Kafka cluster: [groups.Collector].
type cluster interface {
	// Latest is what the last round over it saw, nil before the first.
	Latest() *groups.Round
	// Stale says whether rounds have stopped coming since that one.
	Stale(r *groups.Round) bool
}

// serve takes the requests.
func (p *page) serve(router *httpapi.Router) {
	router.HandlePage(p.home, "range")
	router.HandleStream("GET /events", maxViewers, p.events)
	router.Handle("GET /assets/{version}/{file}", asset)
	p.serveGroups(router)
	p.serveFaults(router)
	if hasBank(p.around) {
		router.Handle("GET /state", p.state)
		router.Handle("GET /slo", p.slo)
		router.Handle("GET /graphs", p.graphParts, "range")
		p.serveOrders(router)
	}
	if hasAlerts(p.around) {
		p.serveAlerts(router)
	}
}

// hasBank says whether there is a bank to look at, or only a cluster.
func hasBank(around service.Surroundings) bool { return len(around.Peers) > 0 }

// hasAlerts says whether there are alerts to show: a bank without a Prometheus says
// that they are not known, a cluster without one has none.
func hasAlerts(around service.Surroundings) bool {
	return hasBank(around) || around.PrometheusURL != ""
}

// frame is what every page has.
type frame struct {
	Title   i18n.Text
	Here    string // which of the pages it is
	Version string
	Demo    bool
	Bank    bool            // there is one
	Alerts  bool            // there are some to show
	Refresh int             // seconds after which a browser without script asks again; 0 for never
	Break   bool            // things may be broken on purpose
	Faults  []faults.Status // in force
	Body    any
}

// show answers with a page.
func (p *page) show(w http.ResponseWriter, r *http.Request, status int, view string, f frame) {
	f.Version, f.Demo, f.Bank, f.Alerts = p.version, p.around.Demo, hasBank(p.around), hasAlerts(p.around)
	f.Break, f.Faults = p.around.Faults != nil, p.faultsInForce()
	if f.Here == "" {
		f.Here = view
	}
	p.write(w, r, status, p.views[view], f)
}

// write answers with a template.
func (p *page) write(w http.ResponseWriter, r *http.Request, status int, view *template.Template, data any) {
	if err := httpapi.WritePage(w, status, policy, view, data); err != nil {
		p.log.ErrorContext(r.Context(), "a page cannot be made", "page", httpapi.Route(r), "error", err)
	}
}

// failed answers with a page that says what went wrong.
func (p *page) failed(w http.ResponseWriter, r *http.Request, status int, title i18n.Text, err error) {
	if status >= http.StatusInternalServerError {
		p.log.WarnContext(r.Context(), "a page cannot be shown", "page", httpapi.Route(r), "error", err)
	}
	p.show(w, r, status, "problem", frame{Title: title, Body: i18n.ErrorText(err)})
}

// overview is the body of the first page.
type overview struct {
	Bank     bool
	Cluster  *groups.Round // nil before the first round
	Groups   groupsView
	Way      WayThrough
	Verdict  Verdict
	Snapshot *Snapshot
	Headline []Headline
	Map      Map
	Firing   int
	Form     form
	Statuses []banking.OrderStatus
	Graphs   graphsView
	Left     []string
	Metrics  string          // where Prometheus is
	Faults   []faults.Status // in force
}

// Headline is one of the figures at the top.
type Headline struct{ Name, Value, Note i18n.Text }

// look makes the body of the first page, but for its graphs and its form.
func (p *page) look(s *Snapshot) overview {
	return overview{
		Bank: hasBank(p.around), Cluster: p.cluster.Latest(), Groups: p.groupsView(fewGroups), Way: p.way.look(),
		Verdict: judge(s), Snapshot: s, Headline: headlines(s), Map: drawMap(p.around, s), Firing: s.Alarms.firing(),
		Statuses: banking.OrderStatuses(), Left: p.around.LeftOut, Metrics: p.around.PrometheusURL,
		Faults: p.faultsInForce(),
	}
}

func headlines(s *Snapshot) []Headline {
	f := s.Figures
	decided := i18n.Textf("%s authorised, %s rejected",
		f.number(figDecided, place{status: "authorized"}).rate(), f.number(figDecided, place{status: "rejected"}).rate())
	return []Headline{
		{i18n.Textf("Orders"), f.number(figOrders, place{}).rate(), i18n.Textf("taken, last minute")},
		{i18n.Textf("Decisions"), f.sum(figDecided).rate(), decided},
		{i18n.Textf("Latency"), f.number(figLatency, place{}).seconds(), i18n.Textf("95%% of POST /orders take less")},
		{i18n.Textf("Lag"), f.most(figLagSeconds).seconds(), i18n.Textf("age of the oldest record that waits")},
		{i18n.Textf("Dead letters"), f.sum(figLetters).count(), i18n.Textf("last 10 minutes")},
	}
}

// most is a figure's largest value over all its series.
func (f figures) most(name figure) number {
	n := number{}
	for _, value := range f[name] {
		n = number{max(n.Value, value), true}
	}
	return n
}

// sum adds a figure's series up.
func (f figures) sum(name figure) number {
	n := number{}
	for _, value := range f[name] {
		n = number{n.Value + value, true}
	}
	return n
}

func (p *page) home(w http.ResponseWriter, r *http.Request) {
	body := p.look(p.lookout.Now(r.Context()))
	body.Form = newForm(p.in)
	body.Graphs = p.graphsView(r.Context(), r.URL.Query().Get("range"))
	p.show(w, r, http.StatusOK, "home", frame{Title: i18n.Textf("Overview"), Body: body})
}

// state is what the first page shows, for programs.
func (p *page) state(w http.ResponseWriter, r *http.Request) {
	s := p.lookout.Now(r.Context())
	missing := s.Errors
	if missing == nil {
		missing = map[Part]i18n.Text{}
	}
	httpapi.WriteJSON(w, http.StatusOK, map[string]any{
		"verdict": judge(s), "at": s.At, "services": orEmpty(s.Services), "flows": orEmpty(ways(p.around, s.Figures)), "firing": s.Alarms.firing(), "missing": missing, "demo": p.around.Demo,
		"faults": orEmpty(p.faultsInForce()), "way": p.way.look(),
	})
}

func orEmpty[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

func (p *page) graphParts(w http.ResponseWriter, r *http.Request) {
	p.fragment(w, r, "graphs", p.graphsView(r.Context(), r.URL.Query().Get("range")))
}

// fragment answers with a part of a page, for its script.
func (p *page) fragment(w http.ResponseWriter, r *http.Request, name string, data any) {
	p.write(w, r, http.StatusOK, p.views["home"].Lookup(name), data)
}

// asset answers with a file that pages load.
func asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	text, err := web.ReadFile("web/assets/" + path.Base(name))
	if err != nil {
		httpapi.WriteProblem(w, httpapi.Problem{Type: httpapi.UnknownResource, Detail: "No such file."})
		return
	}
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	w.Header().Set("Cache-Control", "max-age=300")
	_, _ = bytes.NewReader(text).WriteTo(w)
}

// maxViewers is how many pages are kept up to date at once; those beyond stand
// still until they are loaded again.
const maxViewers = 64

// liveParts are the parts of pages that follow the bank, each a template of its
// own name.
func liveParts() []string {
	return []string{"state", "headline", "map", "latest", "way", "services", "alerts", "cluster", "groups", "objectives", "in-force"}
}

// rendered is a snapshot as the parts of pages, made once for all who look.
type rendered struct {
	of    *Snapshot
	parts map[string]string
}

// renderer keeps the parts of the latest snapshot.
type renderer struct {
	mu     sync.Mutex
	latest rendered
}

// parts returns a snapshot's parts.
func (p *page) parts(s *Snapshot) (map[string]string, error) {
	p.renderer.mu.Lock()
	defer p.renderer.mu.Unlock()
	if p.renderer.latest.of == s {
		return p.renderer.latest.parts, nil
	}
	body, all := p.look(s), map[string]string{}
	for _, name := range liveParts() {
		var text bytes.Buffer
		if err := p.views["home"].ExecuteTemplate(&text, name, body); err != nil {
			return nil, fmt.Errorf("render %s: %w", name, err)
		}
		all[name] = text.String()
	}
	p.renderer.latest = rendered{s, all}
	return all, nil
}

// events sends the parts that have changed, as they do.
func (p *page) events(ctx context.Context, send func(httpapi.Event) error) error {
	shown := map[string]string{}
	return p.lookout.Watch(ctx, func(s *Snapshot) error {
		all, err := p.parts(s)
		if err != nil {
			return err
		}
		changed := false
		for _, name := range liveParts() {
			if shown[name] == all[name] {
				continue
			}
			changed = true
			shown[name] = all[name]
			data, err := json.Marshal(map[string]string{"part": name, "html": all[name]})
			if err != nil {
				return fmt.Errorf("encode %s: %w", name, err)
			}
			if err := send(httpapi.Event{Name: "part", Data: string(data)}); err != nil {
				return err
			}
		}
		if !changed { // it also finds out that the client has gone
			return send(httpapi.Event{})
		}
		return nil
	})
}
