package sentinelle

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/traces"
)

// The services that take and show orders.
const (
	taker  = "commande"
	shower = "suivi"
)

// errNobody: no service to ask is known.
var errNobody = errors.New("no service is known that does this")

// orderQuery is which orders are asked for.
type orderQuery struct {
	Status, Cursor string
	Limit          int
}

// orderList is a page of orders.
type orderList struct {
	Orders     []Order
	TotalCount int
	NextCursor string
}

// orders asks suivi for a page of orders.
func (p *peers) orders(ctx context.Context, around service.Surroundings, q orderQuery) (orderList, error) {
	var list orderList
	from, known := peer(around, shower)
	if !known {
		return list, fmt.Errorf("list orders: %w", errNobody)
	}
	values := url.Values{"limit": {strconv.Itoa(q.Limit)}}
	if q.Status != "" {
		values.Set("status", q.Status)
	}
	if q.Cursor != "" {
		values.Set("cursor", q.Cursor)
	}
	if err := p.get(ctx, from.URL+"/orders?"+values.Encode(), &list); err != nil {
		return list, fmt.Errorf("%s cannot be asked for orders: %w", shower, err)
	}
	return list, nil
}

// Story is what is known of one order.
type Story struct {
	OrderID string `json:"orderId"`
	Status  string `json:"status"`
	Details struct {
		UserID            string        `json:"userId"`
		Amount            banking.Money `json:"amount"`
		Items             []string      `json:"items"`
		AuthorizationCode string        `json:"authorizationCode"`
		RejectionReason   string        `json:"rejectionReason"`
		FailureReason     string        `json:"failureReason"`
	} `json:"details"`
	Events []struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
	} `json:"events"`
	LastUpdated time.Time `json:"lastUpdated"`
}

// decided says whether its payment is, for good.
func (s Story) decided() bool { return banking.OrderStatus(s.Status).Decided() }

// errUnknownOrder: suivi knows no such order, or not yet.
var errUnknownOrder = errors.New("no such order is known")

// story asks suivi for one order.
func (p *peers) story(ctx context.Context, around service.Surroundings, id string) (Story, error) {
	var s Story
	from, known := peer(around, shower)
	if !known {
		return s, fmt.Errorf("show an order: %w", errNobody)
	}
	err := p.get(ctx, from.URL+"/orders/"+url.PathEscape(id)+"/status", &s)
	if refused, ok := errors.AsType[*refusal](err); ok && refused.status == http.StatusNotFound {
		return s, errUnknownOrder
	}
	if err != nil {
		return s, fmt.Errorf("%s cannot be asked for the order: %w", shower, err)
	}
	return s, nil
}

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
		return "", fmt.Errorf("place an order: %w", errNobody)
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
	err = p.post(ctx, to.URL+"/orders", o.Key, map[string]any{"userId": o.User, "amount": amount, "items": items}, &answer)
	if err != nil {
		return "", fmt.Errorf("%s did not take the order: %w", taker, err)
	}
	return answer.OrderID, nil
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
	Name  string
	Done  bool
	Wrong bool   // it went wrong, and stays so until somebody helps
	Text  string // what happened, or what is waited for
	After string // how long after it was sent, "" where nobody knows
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
	after := func(d time.Duration) string {
		if !here || d <= 0 {
			return ""
		}
		return "after " + shortDuration(d)
	}
	j := Journey{OrderID: id, Hops: []Hop{
		{Name: "Accepted", Done: true, Text: "Kafka has it; it will not be lost.", After: after(h.accepted)},
		{Name: "Decided", Text: "Waiting for paiement."},
		{Name: "Visible", Text: "Waiting for suivi to show it."},
	}}
	accepted, decision, visible := &j.Hops[0], &j.Hops[1], &j.Hops[2]
	switch {
	case errors.Is(err, errUnknownOrder) && !here:
		*accepted = Hop{Name: "Accepted", Text: "No such order is known, or not yet."}
	case err != nil && !errors.Is(err, errUnknownOrder):
		visible.Text = fmt.Sprint(err)
	case s.decided():
		decision.Done, visible.Done, j.Over = true, true, true
		decision.Text = "Authorised, code " + s.Details.AuthorizationCode + "."
		if banking.OrderStatus(s.Status) == banking.OrderStatusRejected {
			decision.Text = "Rejected: " + s.Details.RejectionReason + "."
		}
		decision.After = after(s.eventAfter(h.sent))
		visible.Text, visible.After = "suivi shows it.", after(h.visible)
	case banking.OrderStatus(s.Status) == banking.OrderStatusFailed:
		decision.Wrong, decision.Text = true, "It stands among the dead letters: "+s.Details.FailureReason+"."
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
