package sentinelle

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"go.opentelemetry.io/otel/codes"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/traces"
	"github.com/vigie-dev/vigie/monitoring"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

const authorised = `{"orderId":"order-7","status":"PAYMENT_AUTHORIZED","details":{"userId":"user123","amount":100.50,"items":["tea","book"],` +
	`"authorizationCode":"AUTH-1"},"events":[{"type":"OrderCreated","timestamp":"2026-03-04T12:00:00.010Z"},` +
	`{"type":"PaymentAuthorized","timestamp":"2026-03-04T12:00:00.032Z"}],"lastUpdated":"2026-03-04T12:00:00.032Z"}`

// read asks for a path with a lookout that has looked.
func (s *site) read(t *testing.T, path string, want int) string {
	t.Helper()
	s.look(t)
	w := s.get(t, path)
	if w.Code != want {
		t.Fatalf("%s: %d, want %d: %s", path, w.Code, want, w.Body)
	}
	return w.Body.String()
}

// The first page as people see it in each of its states.
func TestTheFirstPage(t *testing.T) {
	changing := regexp.MustCompile(`value="[A-Z2-7]{26}"|/assets/[0-9a-f]+/`)
	for name, tt := range map[string]struct {
		change func(*bank)
		around func(*service.Surroundings)
	}{
		"well": {change: func(b *bank) {
			b.list = `{"orders":[{"orderId":"order-1","userId":"u","amount":1.5,"status":"PAYMENT_REJECTED","lastUpdated":"2026-03-04T11:59:00Z"}],"count":1,"totalCount":12}`
		}},
		"trouble": {change: func(b *bank) { b.fire("ServiceDown", v1.AlertStateFiring); b.away["paiement"] = true }},
		"unknown": {change: func(b *bank) { b.deaf = true }},
		"nothing": {
			change: func(b *bank) { b.away = map[string]bool{"commande": true, "suivi": true, "paiement": true} },
			around: func(a *service.Surroundings) { a.PrometheusURL, a.Demo = "", true },
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, around := healthyBank(), surroundings()
			b.matrix = model.Matrix{{Values: []model.SamplePair{{Timestamp: model.TimeFromUnix(noon().Add(-time.Minute).Unix()), Value: 2}, {Timestamp: model.TimeFromUnix(noon().Unix()), Value: 3}}}}
			tt.change(b)
			if tt.around != nil {
				tt.around(&around)
			}
			s := openSite(t, b, around)
			text := changing.ReplaceAllString(s.read(t, "/", http.StatusOK), "CHANGES")
			telemetrytest.Golden(t, name+".html", text)
		})
	}
}

// Nothing on a page is loaded from elsewhere or runs inline, and what others say
// is text.
func TestPagesBringNothingOfOthers(t *testing.T) {
	b := healthyBank()
	b.fire("<script>", v1.AlertStateFiring)
	b.stories["order-7"] = authorised
	s := openSite(t, b, surroundings())
	for _, path := range []string{"/", "/orders", "/orders/order-7", "/alerts", "/runbooks/ServiceDown"} {
		text := s.read(t, path, http.StatusOK)
		for _, foreign := range []string{` style="`, "<style", "onclick=", "<script>", `src="http`, "javascript:"} {
			if strings.Contains(text, foreign) {
				t.Errorf("%s has %s", path, foreign)
			}
		}
		if s.get(t, path).Header().Get("Content-Security-Policy") != policy {
			t.Errorf("%s has another policy", path)
		}
	}
}

func placeForm(amount string) string {
	return url.Values{"user": {"user123"}, "amount": {amount}, "items": {"tea, book,"}, "key": {"AAAABBBBCCCCDDDD"}}.Encode()
}

// An order that is placed leads to its page, which has the times that it took.
func TestAnOrderIsPlaced(t *testing.T) {
	b := healthyBank()
	b.stories["order-7"] = authorised
	s := openSite(t, b, surroundings())
	w := s.ask(t, http.MethodPost, "/orders", "text/html", placeForm("100.50"))
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/orders/order-7" {
		t.Fatalf("%d to %s: %s", w.Code, w.Header().Get("Location"), w.Body)
	}
	if got := b.bodies[0]; got != `{"amount":100.50,"items":["tea","book"],"userId":"user123"}` {
		t.Errorf("commande was sent %s", got)
	}
	header := b.headers[0]
	if header.Get("Idempotency-Key") != `"AAAABBBBCCCCDDDD"` || !strings.Contains(header.Get("Traceparent"), s.Span("POST /orders").SpanContext.TraceID().String()) {
		t.Errorf("headers %v", header)
	}
	text := s.read(t, "/orders/order-7", http.StatusOK)
	for _, want := range []string{"<h1>order-7</h1>", "Authorised, code AUTH-1.", "after 32 ms", "The payment was authorised", "tea, book", "100.50 €", `data-over="true"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if strings.Contains(text, "refresh") {
		t.Error("a page that is complete is loaded again and again")
	}
	if got := s.Metric("http_requests_total", map[string]string{"route": "/orders", "method": "POST", "status_code": "303"}); got != 1 {
		t.Errorf("%v requests counted", got)
	}
	line := s.Logs()[0]
	if line["msg"] != "an order of the page was taken" || line["order_id"] != "order-7" || strings.Contains(string(mustJSON(t, s.Logs())), "user123") {
		t.Errorf("logs %v", s.Logs())
	}
	var said struct{ OrderID, NextKey string }
	w = s.ask(t, http.MethodPost, "/orders", "application/json", placeForm("100.50"))
	if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil || w.Code != http.StatusCreated || said.OrderID != "order-7" || len(said.NextKey) != 26 {
		t.Errorf("for the script: %d %s", w.Code, w.Body)
	}
}

// following stands for what keeps traces.
type following struct {
	traces.Source
	ids  []string
	full bool
}

func (f *following) Follow(id string) bool {
	f.ids = append(f.ids, id)
	return !f.full
}

var _ interface{ Follow(id string) bool } = (*traces.Recent)(nil) // what it stands for

// The trace of an order that is placed here is kept also where the page's own
// request was passed over: it begins with commande's span, under an id of ours.
func TestTheTraceOfAPlacedOrderIsKept(t *testing.T) {
	b := healthyBank()
	s := openSite(t, b, surroundings())
	source := &following{}
	for range 2 {
		if _, err := s.page.peers.place(follow(t.Context(), source), surroundings(), placement{User: "user123", Amount: "1"}); err != nil {
			t.Fatal(err)
		}
		source.full = true
	}
	if len(source.ids) != 2 || len(b.headers) != 2 {
		t.Fatalf("asked to keep %v, with %d requests", source.ids, len(b.headers))
	}
	if got := b.headers[0].Get("Traceparent"); !strings.HasPrefix(got, "00-"+source.ids[0]+"-") || !strings.HasSuffix(got, "-01") {
		t.Errorf("the request that is followed has the traceparent %q, want one of %s", got, source.ids[0])
	}
	if got := b.headers[1].Get("Traceparent"); got != "" {
		t.Errorf("without room the request has the traceparent %q", got)
	}
}

func mustJSON(t *testing.T, document any) []byte {
	t.Helper()
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// What commande refuses is said in its words, beside what was typed in.
func TestAnOrderIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*bank)
		status int
		want   string
	}{
		"refused": {func(b *bank) { b.refuse = "The field amount must be a number." }, http.StatusBadRequest, "The field amount must be a number."},
		"away":    {func(b *bank) { b.away["commande"] = true }, http.StatusBadGateway, "does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			b := healthyBank()
			tt.change(b)
			s := openSite(t, b, surroundings())
			w := s.ask(t, http.MethodPost, "/orders", "text/html", placeForm(`"a lot"`))
			text := w.Body.String()
			if w.Code != tt.status || !strings.Contains(text, tt.want) || !strings.Contains(text, `value="&#34;a lot&#34;"`) || !strings.Contains(text, "AAAABBBBCCCCDDDD") {
				t.Errorf("%d %s", w.Code, text)
			}
			w = s.ask(t, http.MethodPost, "/orders", "application/json", placeForm("x"))
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
				t.Errorf("for the script: %d %s", w.Code, w.Body)
			}
			if line := s.Logs()[0]; line["msg"] != "an order of the page was not taken" {
				t.Errorf("logs %v", s.Logs())
			}
			for _, span := range s.Spans() {
				if failed := tt.status >= http.StatusInternalServerError; span.Name != "POST /orders" || (span.Status.Code == codes.Error) != failed {
					t.Errorf("span %s is %v", span.Name, span.Status)
				}
			}
			if got := s.Metric("http_requests_total", map[string]string{"route": "/orders", "method": "POST", "status_code": strconv.Itoa(tt.status)}); got != 2 {
				t.Errorf("%v requests counted", got)
			}
		})
	}
}

// A page of another site can place no order.
func TestForeignPagesPlaceNothing(t *testing.T) {
	s := openSite(t, healthyBank(), surroundings())
	r := httptest.NewRequest(http.MethodPost, "/orders", strings.NewReader(placeForm("1")))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	if s.handler.ServeHTTP(w, r); w.Code != http.StatusForbidden || len(s.bank.bodies) > 0 {
		t.Errorf("%d, commande got %v", w.Code, s.bank.bodies)
	}
}

// An order's way while it is not over, and of orders that others placed.
func TestAnOrdersWay(t *testing.T) {
	waiting := strings.NewReplacer("PAYMENT_AUTHORIZED", "ORDER_CREATED").Replace(authorised)
	for name, tt := range map[string]struct {
		story  string
		placed bool
		status int
		want   []string
	}{
		"waits":           {waiting, true, 200, []string{"Waiting for paiement.", `http-equiv="refresh"`, "done, after 8.0 ms"}},
		"not visible yet": {"", true, 200, []string{"Waiting for suivi", `http-equiv="refresh"`}},
		"unknown":         {"", false, 404, []string{"order-7: no such order is known"}},
		"somebody else's": {authorised, false, 200, []string{"Authorised, code AUTH-1.", `<span class="how">done</span>`}},
		"rejected":        {strings.NewReplacer("PAYMENT_AUTHORIZED", "PAYMENT_REJECTED", `"authorizationCode":"AUTH-1"`, `"rejectionReason":"too much"`).Replace(authorised), false, 200, []string{"Rejected: too much."}},
		"a dead letter":   {strings.NewReplacer("PAYMENT_AUTHORIZED", "PAYMENT_FAILED", `"authorizationCode":"AUTH-1"`, `"failureReason":"the authoriser failed"`).Replace(authorised), false, 200, []string{"among the dead letters: the authoriser failed.", "went wrong"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := healthyBank()
			if tt.story != "" {
				b.stories["order-7"] = tt.story
			}
			s := openSite(t, b, surroundings())
			if tt.placed {
				s.page.followed.add("order-7", hops{sent: noon(), accepted: 8 * time.Millisecond})
			}
			text := s.read(t, "/orders/order-7", tt.status)
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in %s", want, text)
				}
			}
		})
	}
}

// When an order was seen first is when it became visible.
func TestTimesAreKeptForTheLatestOrders(t *testing.T) {
	f := &followed{}
	f.add("order-1", hops{sent: noon()})
	for i, want := range []time.Duration{0, time.Second, time.Second} {
		h, known := f.seen("order-1", i > 0, noon().Add(time.Duration(i)*time.Second))
		if !known || h.visible != want {
			t.Errorf("look %d: visible after %v, want %v", i, h.visible, want)
		}
	}
	for i := range maxFollowed {
		f.add(time.Duration(i).String(), hops{})
	}
	if _, known := f.seen("order-1", true, noon()); known || len(f.times) != maxFollowed {
		t.Errorf("%d orders are remembered", len(f.times))
	}
}

func TestTheListOfOrders(t *testing.T) {
	b := healthyBank()
	b.list = `{"orders":[{"orderId":"order-9","userId":"u","amount":5,"status":"PAYMENT_FAILED","lastUpdated":"2026-03-04T11:00:00Z"}],"count":1,"totalCount":40,"nextCursor":"abc"}`
	s := openSite(t, b, surroundings())
	text := s.read(t, "/orders?status=PAYMENT_FAILED", http.StatusOK)
	for _, want := range []string{`href="/orders/order-9"`, "dead letter</span>", "1 of 40 orders", `/orders?cursor=abc&amp;status=PAYMENT_FAILED`, `value="PAYMENT_FAILED" selected`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if w := s.get(t, "/orders?id=+order-9&status="); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/orders/order-9" {
		t.Errorf("find by id: %d %v", w.Code, w.Header())
	}
	b.change(func() { b.away["suivi"] = true })
	if w := s.get(t, "/orders"); w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), "suivi cannot be asked for orders") {
		t.Errorf("without suivi: %d %s", w.Code, w.Body)
	}
}

func TestAlertsAndRunbooks(t *testing.T) {
	b, around := healthyBank(), surroundings()
	b.fire("ServiceDown", v1.AlertStateFiring)
	around.LeftOut = []string{"KafkaBrokerDown"}
	s := openSite(t, b, around)
	text := s.read(t, "/alerts", http.StatusOK)
	for _, want := range []string{"firing, critical</span> ServiceDown", "paiement &lt;is&gt; down", `href="/runbooks/ServiceDown"`, "<li>KafkaBrokerDown</li>"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	var said struct {
		Known         bool
		Alerts, Rules []map[string]any
		LeftOut       []string
	}
	s.getJSON(t, "/alerts", &said)
	if !said.Known || len(said.Alerts) != 1 || len(said.Rules) != 2 || len(said.LeftOut) != 1 {
		t.Errorf("as JSON: %+v", said)
	}
	names := newRunbooks(monitoring.Files).names()
	if len(names) < 10 {
		t.Fatalf("only %d runbooks", len(names))
	}
	for _, name := range names {
		if text := s.read(t, "/runbooks/"+name, http.StatusOK); !strings.Contains(text, "<h2") || strings.Contains(text, "](") {
			t.Errorf("runbook %s: %s", name, text)
		} else if !strings.Contains(text, `<p lang="fr"><em>En français : `) {
			t.Errorf("runbook %s does not mark what it says in French: %s", name, text)
		}
	}
	for _, path := range []string{"/runbooks/README", "/runbooks/Nothing", "/runbooks/..%2fREADME"} {
		if w := s.get(t, path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// Links lead to other runbooks here, and to other documents where those are.
func TestLinksOfRunbooks(t *testing.T) {
	for destination, want := range map[string]string{
		"ConsumerLag.md": "/runbooks/ConsumerLag", "ConsumerLag.md#fix": "/runbooks/ConsumerLag#fix", "#fix": "#fix", "https://example.org/a.md": "https://example.org/a.md",
		"../../docs/http.md": "https://github.com/vigie-dev/vigie/blob/main/docs/http.md", "README.md": repository + "README.md", "%zz": "%zz",
	} {
		if got := linked(destination); got != want {
			t.Errorf("%s leads to %s, want %s", destination, got, want)
		}
	}
}

// The page's files are served under names that change with them, and nothing else is.
func TestAssets(t *testing.T) {
	s := openSite(t, healthyBank(), surroundings())
	text := s.read(t, "/", http.StatusOK)
	for name, kind := range map[string]string{"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"} {
		path := regexp.MustCompile(`/assets/[0-9a-f]+/` + name).FindString(text)
		w := s.get(t, path)
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != kind || w.Header().Get("Cache-Control") != "max-age=300" || w.Body.Len() < 1000 {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
	}
	for _, path := range []string{"/assets/x/layout.html", "/assets/x/..%2flayout.html", "/assets/x/nothing"} {
		if w := s.get(t, path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestStateForPrograms(t *testing.T) {
	s := openSite(t, healthyBank(), surroundings())
	s.look(t)
	var said struct {
		Verdict  Verdict
		Services []Service
		Flows    []Way
		Missing  map[string]string
	}
	s.getJSON(t, "/state", &said)
	if said.Verdict.State != Well || len(said.Services) != 3 || said.Services[0].Version != "1.2.3" || len(said.Flows) < 9 || said.Missing == nil {
		t.Errorf("%+v", said)
	}
}

// A page that is kept up to date gets each part once, then those that have changed,
// and a sign of life where none has.
func TestPartsAreSentAsTheyChange(t *testing.T) {
	b := healthyBank()
	s := openSite(t, b, surroundings())
	s.look(t)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	sent, ended := make(chan httpapi.Event), make(chan error, 1)
	go func() {
		ended <- s.page.events(ctx, func(e httpapi.Event) error {
			select {
			case sent <- e:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	next := func() string {
		e := <-sent
		if e.Name == "" {
			return ""
		}
		var part struct{ Part, HTML string }
		if err := json.Unmarshal([]byte(e.Data), &part); err != nil || part.HTML == "" {
			t.Errorf("event %+v: %v", e, err)
		}
		return part.Part
	}
	var first []string
	for range liveParts() {
		first = append(first, next())
	}
	if !slices.Equal(first, liveParts()) {
		t.Errorf("at first %v", first)
	}
	s.look(t)
	if got := next(); got != "" {
		t.Errorf("%s was sent again", got)
	}
	b.change(func() { b.unready["paiement"] = "kafka" })
	s.now = s.now.Add(refreshInterval)
	s.look(t)
	for _, want := range []string{"state", "map", "services"} {
		if got := next(); got != want {
			t.Errorf("%s was sent, want %s", got, want)
		}
	}
	leave()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
