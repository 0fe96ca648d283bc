package sentinelle

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/groups"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/i18n"
	"github.com/vigie-dev/vigie/internal/secret"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func noon() time.Time { return time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC) }

// bank stands for the services and their Prometheus, in memory. What a test sets
// is what they answer.
type bank struct {
	mu      sync.Mutex // guards the rest
	away    map[string]bool
	unready map[string]string // service → why
	stories map[string]string // order → JSON
	list    string
	refuse  string // why commande takes no order, "" to take it
	asked   map[string]int
	bodies  []string
	headers []http.Header

	deaf   bool // Prometheus does not answer
	values map[figure]map[place]float64
	rules  []v1.RuleGroup
	matrix model.Matrix

	recorded model.Vector // of objectives
}

func healthyBank() *bank {
	b := &bank{
		away: map[string]bool{}, unready: map[string]string{}, stories: map[string]string{}, asked: map[string]int{},
		list:   `{"orders":[],"count":0,"totalCount":0}`,
		values: map[figure]map[place]float64{},
		rules: []v1.RuleGroup{{Name: "services", Rules: v1.Rules{v1.AlertingRule{
			Name: "ServiceDown", State: "inactive", Health: v1.RuleHealthGood, LastEvaluation: noon().Add(-5 * time.Second),
			Labels:      model.LabelSet{"severity": "critical"},
			Annotations: model.LabelSet{"runbook_url": "https://example.org/ServiceDown.md"},
		}}}},
	}
	for _, p := range surroundings().Peers {
		b.set(figUp, place{service: p.Name}, 1)
		b.set(figAge, place{service: p.Name}, 2)
		for _, topic := range p.Writes {
			b.set(figProduced, place{service: p.Name, topic: topic}, 1.5)
		}
		for _, topic := range p.Reads {
			b.set(figConsumed, place{service: p.Name, topic: topic}, 1.5)
			b.set(figLag, place{service: p.Name, topic: topic}, 0)
			b.set(figLagSeconds, place{service: p.Name, topic: topic}, 0)
			b.set(figLetters, place{service: p.Name, topic: topic}, 0)
		}
	}
	b.set(figOrders, place{}, 1.5)
	b.set(figDecided, place{status: "authorized"}, 1.2)
	b.set(figDecided, place{status: "rejected"}, 0.3)
	b.set(figLatency, place{}, 0.0042)
	return b
}

func (b *bank) set(name figure, at place, value float64) {
	if b.values[name] == nil {
		b.values[name] = map[place]float64{}
	}
	b.values[name][at] = value
}

func (b *bank) change(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *bank) count(what string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked[what]
}

// surroundings is the bank as sentinelle is told of it.
func surroundings() service.Surroundings {
	return service.Surroundings{PrometheusURL: "http://prometheus.test:9090", Peers: []service.Peer{
		{Name: "commande", Does: "take orders", URL: "http://127.0.0.1:3001", Writes: []string{banking.TopicOrdersCreated}},
		{
			Name: "suivi", Does: "show orders", URL: "http://127.0.0.1:3002",
			Reads: banking.ReadBy(banking.GroupSuivi), Writes: []string{banking.TopicOrdersDLQ, banking.TopicPaymentsDLQ},
		},
		{
			Name: "paiement", Does: "decide payments", URL: "http://127.0.0.1:3004", Reads: []string{banking.TopicOrdersCreated},
			Writes: []string{banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected, banking.TopicOrdersDLQ},
		},
	}}
}

// RoundTrip implements [http.RoundTripper]: the services' answers.
func (b *bank) RoundTrip(r *http.Request) (*http.Response, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var name string
	for _, p := range surroundings().Peers {
		if strings.HasSuffix(p.URL, r.URL.Host) {
			name = p.Name
		}
	}
	b.asked[name+" "+r.URL.Path]++
	b.headers = append(b.headers, r.Header)
	if b.away[name] {
		return nil, errors.New("connection refused")
	}
	answer := func(status int, body string) (*http.Response, error) {
		w := httptest.NewRecorder()
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return w.Result(), nil
	}
	id, isStory := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/orders/"), "/status")
	switch {
	case r.URL.Path == "/health/ready" && b.unready[name] != "":
		return answer(503, `{"detail":"Not ready: `+b.unready[name]+`."}`)
	case r.URL.Path == "/health/ready":
		return answer(200, `{"status":"ready"}`)
	case r.URL.Path == "/":
		return answer(200, `{"version":"1.2.3"}`)
	case r.Method == http.MethodPost:
		body, _ := io.ReadAll(r.Body)
		b.bodies = append(b.bodies, string(body))
		if b.refuse != "" {
			return answer(400, `{"detail":"`+b.refuse+`"}`)
		}
		return answer(201, `{"orderId":"order-7"}`)
	case isStory && b.stories[id] != "":
		return answer(200, b.stories[id])
	case isStory:
		return answer(404, `{"detail":"No such order is known here yet."}`)
	case r.URL.Path == "/orders":
		return answer(200, b.list)
	default:
		return answer(404, "")
	}
}

// Vector, Matrix and Rules are Prometheus' answers.
func (b *bank) Vector(_ context.Context, query string, _ time.Time) (model.Vector, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked["vector"]++
	if b.deaf {
		return nil, errors.New("Prometheus at http://prometheus.test:9090 does not answer") //nolint:revive // as promapi writes it
	}
	if query == objectivesQuery {
		return b.recorded, nil
	}
	var all model.Vector
	for name, series := range b.values {
		for at, value := range series {
			all = append(all, &model.Sample{Value: model.SampleValue(value), Metric: model.Metric{
				"figure": model.LabelValue(name), "service": model.LabelValue(at.service), "topic": model.LabelValue(at.topic), "status": model.LabelValue(at.status),
			}})
		}
	}
	return all, nil
}

func (b *bank) Matrix(_ context.Context, query string, _, _ time.Time, _ time.Duration) (model.Matrix, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked["matrix"]++
	if b.deaf {
		return nil, errors.New("Prometheus does not answer") //nolint:revive // as promapi writes it
	}
	if strings.Contains(query, "orders_total") {
		return b.matrix, nil
	}
	return nil, nil
}

func (b *bank) Rules(context.Context) ([]v1.RuleGroup, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked["rules"]++
	if b.deaf {
		return nil, errors.New("Prometheus at http://prometheus.test:9090 does not answer") //nolint:revive // as promapi writes it
	}
	return b.rules, nil
}

// fire has an alert fire, or be about to.
func (b *bank) fire(name string, state v1.AlertState) {
	b.change(func() {
		rule, _ := b.rules[0].Rules[0].(v1.AlertingRule)
		rule.Name, rule.State = name, string(state)
		rule.Alerts = []*v1.Alert{{
			State: state, ActiveAt: noon().Add(-time.Minute), Labels: model.LabelSet{"severity": "critical", "service": "paiement"},
			Annotations: model.LabelSet{"summary": "paiement <is> down", "description": "It has not answered.", "runbook_url": "https://example.org/ServiceDown.md"},
		}}
		b.rules[0].Rules = append(b.rules[0].Rules, rule)
	})
}

// site is sentinelle on a bank, with its telemetry, without a port.
type site struct {
	*telemetrytest.Recorder

	bank    *bank
	page    *page
	handler http.Handler
	now     time.Time
}

// noCluster has not been looked at.
type noCluster struct{}

func (noCluster) Latest() *groups.Round { return nil }

func (noCluster) Stale(*groups.Round) bool { return false }

func openSite(t *testing.T, b *bank, around service.Surroundings) *site {
	t.Helper()
	return openSiteIn(t, i18n.English, b, around)
}

// openSiteIn opens one in a language.
func openSiteIn(t *testing.T, language string, b *bank, around service.Surroundings) *site {
	t.Helper()
	s := &site{Recorder: telemetrytest.New(t, Name, append(Catalogue(), httpapi.Catalogue()...)), bank: b, now: noon()}
	log := httpapi.LogRequestIDs(s.Logger())
	asked := newPeers(nil, func() secret.Value { return secret.Of("a-token") })
	asked.client.Transport = b
	var from prometheus
	if around.PrometheusURL != "" {
		from = b
	}
	look, err := newLookout(around, asked, from, log, s.Instruments())
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return s.now }
	look.now = now
	in, err := i18n.Open(languageFiles(), language)
	if err != nil {
		t.Fatal(err)
	}
	views, err := parseViews(in)
	if err != nil {
		t.Fatal(err)
	}
	s.page = &page{
		cluster: noCluster{},
		around:  around, version: "1.2.3", lookout: look, peers: asked, graphs: &graphs{from: from, in: in, now: now},
		followed: &followed{}, way: &way{}, views: views, in: in, log: log, now: now,
	}
	router := httpapi.NewRouter(httpapi.Config{Service: Name, Version: "1.2.3", Metrics: s.MetricsHandler(), Ready: &httpapi.Readiness{}, Log: log})
	s.page.serve(router)
	s.handler = httpapi.Identify(telemetry.HTTPMiddleware(s.Telemetry, httpapi.Route)(router))
	return s
}

// look has the lookout look once, as its goroutine would.
func (s *site) look(t *testing.T) { t.Helper(); s.page.lookout.look(t.Context()) }

// get asks as a browser does.
func (s *site) get(t *testing.T, path string) *httptest.ResponseRecorder {
	t.Helper()
	return s.ask(t, http.MethodGet, path, "text/html", "")
}

func (s *site) ask(t *testing.T, method, path, accept, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Accept", accept)
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

func (s *site) getJSON(t *testing.T, path string, into any) {
	t.Helper()
	w := s.ask(t, http.MethodGet, path, "application/json", "")
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		t.Fatal(err)
	}
}
