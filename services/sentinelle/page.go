package sentinelle

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/chart"
	"github.com/vigie-dev/vigie/internal/faults"
	"github.com/vigie-dev/vigie/internal/groups"
	"github.com/vigie-dev/vigie/internal/httpapi"
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
	runbooks *runbooks
	followed *followed
	views    map[string]*template.Template // by the page's name
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
	router.Handle("GET /groups", p.groupList)
	router.Handle("GET /groups/{group}", p.groupDetail)
	p.serveFaults(router)
	if hasBank(p.around) {
		p.serveBank(router)
	}
	if hasAlerts(p.around) {
		router.Handle("GET /alerts", p.alerts)
		router.Handle("GET /runbooks/{name}", p.runbook)
	}
}

// serveBank takes the requests that are about the bank.
func (p *page) serveBank(router *httpapi.Router) {
	router.Handle("GET /state", p.state)
	router.Handle("GET /graphs", p.graphParts, "range")
	router.Handle("GET /orders", p.orderList, "status", "cursor", "id")
	router.Handle("POST /orders", p.placeOrder)
	router.Handle("GET /orders/{id}", p.order)
	router.Handle("GET /orders/{id}/journey", p.journey)
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
	Title   string
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
func (p *page) failed(w http.ResponseWriter, r *http.Request, status int, title string, err error) {
	if status >= http.StatusInternalServerError {
		p.log.WarnContext(r.Context(), "a page cannot be shown", "page", httpapi.Route(r), "error", err)
	}
	p.show(w, r, status, "problem", frame{Title: title, Body: fmt.Sprint(err)})
}

// overview is the body of the first page.
type overview struct {
	Bank     bool
	Cluster  *groups.Round // nil before the first round
	Groups   groupsView
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
type Headline struct{ Name, Value, Note string }

// form is "place an order", as it was filled in.
type form struct {
	placement
	Error string
}

// graphsView is the graphs of a span.
type graphsView struct {
	Span  Span
	Spans []Span
	All   []chart.Graph
}

func (p *page) graphsView(ctx context.Context, name string) graphsView {
	span := spanOf(name)
	return graphsView{span, spans(), p.graphs.of(ctx, span)}
}

func newForm() form {
	return form{placement: placement{User: "user123", Amount: "100.50", Items: "item1, item2", Key: rand.Text()}}
}

// look makes the body of the first page, but for its graphs and its form.
func (p *page) look(s *Snapshot) overview {
	return overview{
		Bank: hasBank(p.around), Cluster: p.cluster.Latest(), Groups: p.groupsView(fewGroups),
		Verdict: judge(s), Snapshot: s, Headline: headlines(s), Map: drawMap(p.around, s), Firing: s.Alarms.firing(),
		Statuses: banking.OrderStatuses(), Left: p.around.LeftOut, Metrics: p.around.PrometheusURL,
		Faults: p.faultsInForce(),
	}
}

func headlines(s *Snapshot) []Headline {
	f := s.Figures
	decided := fmt.Sprintf("%s authorised, %s rejected",
		f.number(figDecided, place{status: "authorized"}).rate(), f.number(figDecided, place{status: "rejected"}).rate())
	return []Headline{
		{"Orders", f.number(figOrders, place{}).rate(), "taken, last minute"},
		{"Decisions", f.sum(figDecided).rate(), decided},
		{"Latency", f.number(figLatency, place{}).seconds(), "95% of POST /orders take less"},
		{"Lag", f.most(figLagSeconds).seconds(), "age of the oldest record that waits"},
		{"Dead letters", f.sum(figLetters).count(), "last 10 minutes"},
	}
}

func (p *page) home(w http.ResponseWriter, r *http.Request) {
	body := p.look(p.lookout.Now(r.Context()))
	body.Form = newForm()
	body.Graphs = p.graphsView(r.Context(), r.URL.Query().Get("range"))
	p.show(w, r, http.StatusOK, "home", frame{Title: "Overview", Body: body})
}

// state is what the first page shows, for programs.
func (p *page) state(w http.ResponseWriter, r *http.Request) {
	s := p.lookout.Now(r.Context())
	missing := s.Errors
	if missing == nil {
		missing = map[Part]string{}
	}
	httpapi.WriteJSON(w, http.StatusOK, map[string]any{
		"verdict": judge(s), "at": s.At, "services": orEmpty(s.Services), "flows": orEmpty(ways(p.around, s.Figures)), "firing": s.Alarms.firing(), "missing": missing, "demo": p.around.Demo,
		"faults": orEmpty(p.faultsInForce()),
	})
}

func (p *page) alerts(w http.ResponseWriter, r *http.Request) {
	s := p.lookout.Now(r.Context())
	w.Header().Set("Vary", "Accept")
	if !httpapi.WantsPage(r) {
		answer := map[string]any{"alerts": orEmpty(s.Alarms.Alerts), "rules": orEmpty(s.Alarms.Rules), "leftOut": orEmpty(p.around.LeftOut), "known": s.knows(partAlerts)}
		httpapi.WriteJSON(w, http.StatusOK, answer)
		return
	}
	p.show(w, r, http.StatusOK, "alerts", frame{Title: "Alerts", Body: p.look(s)})
}

func orEmpty[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

func (p *page) runbook(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	text, err := p.runbooks.render(name)
	if err != nil {
		p.failed(w, r, http.StatusNotFound, "No such runbook", err)
		return
	}
	p.show(w, r, http.StatusOK, "runbook", frame{Title: name, Here: "alerts", Body: text})
}

func (p *page) graphParts(w http.ResponseWriter, r *http.Request) {
	p.fragment(w, r, "graphs", p.graphsView(r.Context(), r.URL.Query().Get("range")))
}

// fragment answers with a part of a page, for its script.
func (p *page) fragment(w http.ResponseWriter, r *http.Request, name string, data any) {
	p.write(w, r, http.StatusOK, p.views["home"].Lookup(name), data)
}

// listed is the body of the list of orders.
type listed struct {
	orderList
	Status   string
	Statuses []banking.OrderStatus
	Next     string // address of the next page
	Form     form
}

// pageOrders is how many orders stand on a page of the list.
const pageOrders = 25

func (p *page) orderList(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if id := strings.TrimSpace(query.Get("id")); id != "" {
		w.Header().Set("Location", "/orders/"+url.PathEscape(id))
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	p.showOrders(w, r, http.StatusOK, newForm())
}

func (p *page) showOrders(w http.ResponseWriter, r *http.Request, status int, f form) {
	query := r.URL.Query()
	body := listed{Status: query.Get("status"), Statuses: banking.OrderStatuses(), Form: f}
	ctx, cancel := context.WithTimeout(r.Context(), refreshTimeout)
	defer cancel()
	var err error
	body.orderList, err = p.peers.orders(ctx, p.around, orderQuery{Status: body.Status, Cursor: query.Get("cursor"), Limit: pageOrders})
	if err != nil && f.Error == "" {
		p.failed(w, r, statusOf(err), "The orders cannot be shown", err)
		return
	}
	if body.NextCursor != "" {
		body.Next = "/orders?" + url.Values{"status": {body.Status}, "cursor": {body.NextCursor}}.Encode()
	}
	p.show(w, r, status, "orders", frame{Title: "Orders", Body: body})
}

// statusOf is how an answer is passed on: what a client did wrong is the client's,
// everything else the service's that was asked.
func statusOf(err error) int {
	if refused, ok := errors.AsType[*refusal](err); ok && refused.status < http.StatusInternalServerError {
		return refused.status
	}
	return http.StatusBadGateway
}

// Bounds of placing an order.
const (
	placeTimeout = 6 * time.Second        // commande gives up before
	placeWait    = 400 * time.Millisecond // for the order to become visible
	placePoll    = 20 * time.Millisecond
)

// placeOrder takes the form, and leads to the order's page.
func (p *page) placeOrder(w http.ResponseWriter, r *http.Request) {
	f := form{placement: placement{
		User: r.PostFormValue("user"), Amount: r.PostFormValue("amount"), Items: r.PostFormValue("items"), Key: r.PostFormValue("key"),
	}}
	ctx, cancel := context.WithTimeout(r.Context(), placeTimeout)
	defer cancel()
	sent := p.now()
	id, err := p.peers.place(follow(ctx, p.around.Traces), p.around, f.placement)
	if err != nil {
		status := statusOf(err)
		p.log.InfoContext(r.Context(), "an order of the page was not taken", "status", status, "error", err)
		f.Error = fmt.Sprint(err)
		if wantsJSON(r) {
			httpapi.WriteJSON(w, status, map[string]string{"detail": f.Error})
			return
		}
		p.showOrders(w, r, status, f)
		return
	}
	p.followed.add(id, hops{sent: sent, accepted: p.now().Sub(sent)})
	p.log.InfoContext(r.Context(), "an order of the page was taken", "order_id", id)
	p.await(ctx, id)
	if wantsJSON(r) {
		httpapi.WriteJSON(w, http.StatusCreated, map[string]string{"orderId": id, "nextKey": rand.Text()})
		return
	}
	w.Header().Set("Location", "/orders/"+url.PathEscape(id))
	w.WriteHeader(http.StatusSeeOther)
}

// wantsJSON says whether the page's script asks, which shows the answer itself.
func wantsJSON(r *http.Request) bool { return r.Header.Get("Accept") == "application/json" }

// await waits a moment for an order to become visible, so that its times are
// those of the bank and not of a reader.
func (p *page) await(parent context.Context, id string) {
	ctx, cancel := context.WithTimeout(unsampled(parent), placeWait)
	defer cancel()
	for {
		if s, err := p.peers.story(ctx, p.around, id); err == nil && s.decided() {
			p.followed.seen(id, true, p.now())
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(placePoll):
		}
	}
}

// orderView is the body of an order's page.
type orderView struct {
	Journey Journey
	Known   bool
	Story   Story
	Spans   []spanRow // of its trace, where that is kept
}

func (p *page) order(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	view, err := p.orderView(r.Context(), id)
	f := frame{Title: "Order " + id, Here: "orders", Body: view}
	_, here := p.followed.seen(id, false, p.now())
	if errors.Is(err, errUnknownOrder) && !here {
		p.failed(w, r, http.StatusNotFound, "No such order", fmt.Errorf("%s: %w", id, err))
		return
	}
	if !view.Journey.Over {
		f.Refresh = 2
	}
	p.show(w, r, http.StatusOK, "order", f)
}

func (p *page) orderView(ctx context.Context, id string) (orderView, error) {
	ctx, cancel := context.WithTimeout(unsampled(ctx), refreshTimeout)
	defer cancel()
	s, err := p.peers.story(ctx, p.around, id)
	return orderView{p.followed.journey(id, s, err, p.now()), err == nil, s, waterfall(ctx, p.around.Traces, id)}, err
}

// journey is the part of an order's page that changes, for its script.
func (p *page) journey(w http.ResponseWriter, r *http.Request) {
	view, _ := p.orderView(r.Context(), r.PathValue("id")) // what is wrong stands in it
	p.write(w, r, http.StatusOK, p.views["order"].Lookup("journey"), view)
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
	return []string{"state", "headline", "map", "latest", "services", "alerts", "cluster", "groups", "in-force"}
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
