package sentinelle

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/i18n"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/traces"
)

// serveOrders takes the requests that are about orders.
func (p *page) serveOrders(router *httpapi.Router) {
	router.Handle("GET /orders", p.orderList, "status", "cursor", "id")
	router.Handle("POST /orders", p.placeOrder)
	router.Handle("GET /orders/{id}", p.order)
	router.Handle("GET /orders/{id}/journey", p.journey)
}

// form is "place an order", as it was filled in.
type form struct {
	placement
	Error i18n.Text
}

func newForm(in *i18n.Language) form {
	return form{placement: placement{User: "user123", Amount: in.Say(decimal("100.50")), Items: "item1, item2", Key: rand.Text()}}
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
	p.showOrders(w, r, http.StatusOK, newForm(p.in))
}

func (p *page) showOrders(w http.ResponseWriter, r *http.Request, status int, f form) {
	query := r.URL.Query()
	body := listed{Status: query.Get("status"), Statuses: banking.OrderStatuses(), Form: f}
	ctx, cancel := context.WithTimeout(r.Context(), refreshTimeout)
	defer cancel()
	var err error
	body.orderList, err = p.peers.orders(ctx, p.around, orderQuery{Status: body.Status, Cursor: query.Get("cursor"), Limit: pageOrders})
	if err != nil && f.Error.IsZero() {
		p.failed(w, r, statusOf(err), i18n.Textf("The orders cannot be shown"), err)
		return
	}
	if body.NextCursor != "" {
		body.Next = "/orders?" + url.Values{"status": {body.Status}, "cursor": {body.NextCursor}}.Encode()
	}
	p.show(w, r, status, "orders", frame{Title: i18n.Textf("Orders"), Body: body})
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

// placement is an order as somebody types it in.
type placement struct {
	User, Amount, Items string
	Key                 string // the form's: a form that is sent twice is one order
}

// place hands an order to commande and returns its id. What commande refuses is a
// refusal, in its words.
func (p *peers) place(ctx context.Context, around service.Surroundings, o placement) (id string, err error) {
	to, known := peer(around, taker)
	if !known {
		return "", i18n.Errorf("place an order: %w", errNobody)
	}
	items := []string{}
	for item := range strings.SplitSeq(o.Items, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	var amount any = strings.TrimSpace(o.Amount) // commande says what is wrong with it
	if number := json.Number(strings.TrimSpace(o.Amount)); json.Valid([]byte(number)) {
		amount = json.RawMessage(number)
	}
	if !regexp.MustCompile(`^[A-Z0-9]{16,64}$`).MatchString(o.Key) { // not one of our forms'
		o.Key = rand.Text()
	}
	var answer struct{ OrderID string }
	err = p.post(ctx, to.URL+"/orders", o.Key, map[string]any{"userId": o.User, "amount": amount, "items": items}, &answer, nil)
	if err != nil {
		return "", i18n.Errorf("%s did not take the order: %w", taker, err)
	}
	return answer.OrderID, nil
}

// post sends JSON under a key, so that it may be sent again, with further headers.
func (p *peers) post(ctx context.Context, address, key string, document, into any, headers map[string]string) error {
	body, err := json.Marshal(document)
	if err != nil {
		return fmt.Errorf("encode for %s: %w", address, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask %s: %w", address, err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", `"`+key+`"`)
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	return p.send(r, into)
}

// placeOrder takes the form, and leads to the order's page.
func (p *page) placeOrder(w http.ResponseWriter, r *http.Request) {
	f := form{placement: placement{
		User: r.PostFormValue("user"), Amount: r.PostFormValue("amount"), Items: r.PostFormValue("items"), Key: r.PostFormValue("key"),
	}}
	ctx, cancel := context.WithTimeout(r.Context(), placeTimeout)
	defer cancel()
	sent := p.now()
	typed := f.placement
	typed.Amount = p.in.Point(typed.Amount)
	id, err := p.peers.place(follow(ctx, p.around.Traces), p.around, typed)
	if err != nil {
		status := statusOf(err)
		p.log.InfoContext(r.Context(), "an order of the page was not taken", "status", status, "error", err)
		f.Error = i18n.ErrorText(err)
		if wantsJSON(r) {
			httpapi.WriteJSON(w, status, map[string]string{"detail": p.in.Say(f.Error)})
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
	f := frame{Title: i18n.Textf("Order %s", id), Here: "orders", Body: view}
	_, here := p.followed.seen(id, false, p.now())
	if errors.Is(err, errUnknownOrder) && !here {
		p.failed(w, r, http.StatusNotFound, i18n.Textf("No such order"), i18n.Errorf("%s: %w", id, err))
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

// follow has the trace of a request that is about to be sent kept, since somebody
// wants to see it: also where so many begin that this one would be passed over.
func follow(ctx context.Context, source traces.Source) context.Context {
	keeper, ok := source.(interface{ Follow(id string) bool })
	if !ok || trace.SpanFromContext(ctx).IsRecording() { // it is kept already
		return ctx
	}
	var id trace.TraceID
	var span trace.SpanID
	_, _ = rand.Read(id[:]) // never fails
	_, _ = rand.Read(span[:])
	if !keeper.Follow(id.String()) {
		return ctx
	}
	return trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: trace.FlagsSampled}))
}

// maxFollowed is how many of the orders placed here are remembered.
const maxFollowed = 200

// followed is when the orders placed here came how far, as seen from here.
type followed struct {
	mu    sync.Mutex
	times map[string]hops
	ids   []string // the oldest first
}

// hops is how long an order took, counted from when it was sent.
type hops struct {
	sent     time.Time
	accepted time.Duration
	visible  time.Duration // 0 until suivi was seen to show it as decided
}

func (f *followed) add(id string, h hops) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.times == nil {
		f.times = map[string]hops{}
	}
	if _, known := f.times[id]; !known {
		f.ids = append(f.ids, id)
	}
	f.times[id] = h
	if len(f.ids) > maxFollowed {
		delete(f.times, f.ids[0])
		f.ids = f.ids[1:]
	}
}

// seen notes that suivi shows an order as decided, and returns its times.
func (f *followed) seen(id string, decided bool, now time.Time) (hops, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, known := f.times[id]
	if known && decided && h.visible == 0 {
		h.visible = now.Sub(h.sent)
		f.times[id] = h
	}
	return h, known
}

// Hop is one step of an order's way.
type Hop struct {
	Name  i18n.Text
	Done  bool
	Wrong bool      // it went wrong, and stays so until somebody helps
	Text  i18n.Text // what happened, or what is waited for
	After i18n.Text // how long after it was sent, nothing where nobody knows
}

// Journey is an order's way, hop by hop.
type Journey struct {
	OrderID string
	Hops    []Hop
	Over    bool // nothing more is expected
}

// journey says how far an order has come. The decision's time is the event's.
func (f *followed) journey(id string, s Story, err error, now time.Time) Journey {
	h, here := f.seen(id, err == nil && s.decided(), now)
	after := func(d time.Duration) i18n.Text {
		if !here || d <= 0 {
			return i18n.Text{}
		}
		return i18n.Textf("after %s", shortDuration(d))
	}
	j := Journey{OrderID: id, Hops: []Hop{
		{Name: i18n.Textf("Accepted"), Done: true, Text: i18n.Textf("Kafka has it; it will not be lost."), After: after(h.accepted)},
		{Name: i18n.Textf("Decided"), Text: i18n.Textf("Waiting for paiement.")},
		{Name: i18n.Textf("Visible"), Text: i18n.Textf("Waiting for suivi to show it.")},
	}}
	accepted, decision, visible := &j.Hops[0], &j.Hops[1], &j.Hops[2]
	switch {
	case errors.Is(err, errUnknownOrder) && !here:
		*accepted = Hop{Name: i18n.Textf("Accepted"), Text: i18n.Textf("No such order is known, or not yet.")}
	case err != nil && !errors.Is(err, errUnknownOrder):
		visible.Text = i18n.ErrorText(err)
	case s.decided():
		decision.Done, visible.Done, j.Over = true, true, true
		decision.Text = i18n.Textf("Authorised, code %s.", s.Details.AuthorizationCode)
		if banking.OrderStatus(s.Status) == banking.OrderStatusRejected {
			decision.Text = i18n.Textf("Rejected: %s.", s.Details.RejectionReason)
		}
		decision.After = after(s.eventAfter(h.sent))
		visible.Text, visible.After = i18n.Textf("suivi shows it."), after(h.visible)
	case banking.OrderStatus(s.Status) == banking.OrderStatusFailed:
		decision.Wrong, decision.Text = true, i18n.Textf("It stands among the dead letters: %s.", s.Details.FailureReason)
	}
	return j
}

// eventAfter is how long after a time the order was decided.
func (s Story) eventAfter(sent time.Time) time.Duration {
	for _, e := range s.Events {
		if banking.StatusAfter(e.Type).Decided() {
			return e.Timestamp.Sub(sent)
		}
	}
	return 0
}

// serveTraces tells programs of the traces that a source has, and has the metrics
// say how many are kept where this process keeps them.
func serveTraces(b *service.Base, source traces.Source) error {
	b.Router.Handle("GET /traces/{id}", func(w http.ResponseWriter, r *http.Request) { tellTrace(w, r, source) })
	recent, ok := source.(*traces.Recent)
	if !ok {
		return nil
	}
	registration, err := recent.Measure(b.Telemetry.Instruments())
	if err != nil {
		return err
	}
	b.Stack.OnStop("recent traces", func(context.Context) error { return registration.Unregister() })
	return nil
}

// tellTrace answers with an order's trace, or with that of an id.
func tellTrace(w http.ResponseWriter, r *http.Request, source traces.Source) {
	unknown := httpapi.Problem{Type: httpapi.UnknownResource, Detail: "No traces are kept here; `vigie up` keeps some of the last."}
	if source == nil {
		httpapi.WriteProblem(w, unknown)
		return
	}
	found, err := traces.Find(r.Context(), source, r.PathValue("id"))
	if err == nil {
		httpapi.WriteJSON(w, http.StatusOK, traces.NewTree(found))
		return
	}
	unknown.Detail = "No trace of that order or id is kept: it was passed over, or has made room for others."
	httpapi.WriteProblem(w, unknown)
}

// spanRow is a span of an order's trace as the page shows it: its bar begins at X
// and is W wide, in thousandths of the whole.
type spanRow struct {
	traces.Row
	Indent      string
	Began, Took time.Duration
	X, W        int
}

const (
	thousand   = 1000
	thinnest   = 4  // what takes no time is seen all the same
	mostRows   = 60 // of one page
	mostIndent = 8
)

// waterfall is an order's trace, row by row; none where the source has none.
func waterfall(ctx context.Context, source traces.Source, order string) (rows []spanRow) {
	if source == nil {
		return nil
	}
	found, err := source.Order(ctx, order)
	if err != nil {
		return nil
	}
	for _, row := range traces.NewTree(found).Rows() {
		if len(rows) == mostRows {
			break
		}
		width := max(int(row.Width*thousand), thinnest)
		rows = append(rows, spanRow{
			Row: row, Indent: strings.Repeat("\u2003", min(row.Depth, mostIndent)), // spaces that stay
			Began: row.After.Round(time.Microsecond), Took: row.Duration.Round(time.Microsecond),
			X: min(int(row.From*thousand), thousand-width), W: width,
		})
	}
	return rows
}
