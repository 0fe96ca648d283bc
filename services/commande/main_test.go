package commande

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	testpostgres "github.com/vigie-dev/vigie/internal/testenv/postgres"
	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// postgres is the server of all tests here, where there is one.
var postgres testpostgres.Shared

func TestMain(m *testing.M) {
	leaks.Main(postgres.Around(m))
}

// maker gives the URL of an empty storage.
type maker = func(testing.TB) string

func onEach(t *testing.T, test func(t *testing.T, empty maker)) {
	t.Helper()
	postgres.OnEach(t, test)
}

// reopen opens the storage at a URL; the caller closes it.
func reopen(t testing.TB, url string) *storage.Store {
	t.Helper()
	own, err := ownMigrations()
	if err != nil {
		t.Fatal(err)
	}
	s, err := storage.Open(t.Context(), url, Name, own)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closed(t testing.TB, s *storage.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// broker is a publisher that keeps what it is given.
type broker struct {
	// answer, if set, is how sending ends.
	answer func(context.Context) error

	mu   sync.Mutex
	sent []*sarama.ProducerMessage
}

func (b *broker) Publish(ctx context.Context, m *sarama.ProducerMessage) error {
	b.mu.Lock()
	m.Partition, m.Offset = 2, int64(len(b.sent))
	b.sent = append(b.sent, m)
	b.mu.Unlock()
	if b.answer == nil {
		return nil
	}
	return b.answer(ctx)
}

const (
	// patience is how long an order waits for the test's broker: no machine is
	// that slow.
	patience     = 10 * time.Minute
	leaseOfTests = time.Hour
)

// shop is commande's HTTP face before a broker of the test's own.
type shop struct {
	*telemetrytest.Recorder
	broker *broker
	orders *orders
	http.Handler
}

func openShop(t *testing.T) *shop {
	t.Helper()
	return openShopFor(t)
}

// openShopFor opens a shop for clients with these tokens; with none, for all.
func openShopFor(t *testing.T, clients ...string) *shop {
	t.Helper()
	var tokens *httpapi.Tokens
	if len(clients) > 0 {
		path := filepath.Join(t.TempDir(), "tokens")
		if err := os.WriteFile(path, []byte(strings.Join(clients, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		var err error
		if tokens, err = httpapi.OpenTokens(path); err != nil {
			t.Fatal(err)
		}
	}
	store := reopen(t, "sqlite:"+t.TempDir())
	t.Cleanup(func() { closed(t, store) })
	s := &shop{Recorder: telemetrytest.New(t, Name, slices.Concat(Catalogue(), service.Common())), broker: &broker{}}
	instrument, err := otelkafka.New(otelkafka.WithTelemetry(s.Telemetry), otelkafka.Options{Produces: []string{banking.TopicOrdersCreated}})
	if err != nil {
		t.Fatal(err)
	}
	lines, err := service.NewOrderLog(t.Context(), s.Logger(), s.Instruments(), 0)
	if err != nil {
		t.Fatal(err)
	}
	s.orders = &orders{
		keys:      &keys{store: store, ids: &ids{store: store}, log: s.Logger(), lease: leaseOfTests, now: time.Now},
		publisher: s.broker, instrument: instrument, log: s.Logger(), lines: lines, ackTimeout: patience,
	}
	if err := s.orders.prepare(t.Context(), s.Instruments()); err != nil {
		t.Fatal(err)
	}
	router := httpapi.NewRouter(httpapi.Config{
		Service: Name, Version: "test", Metrics: s.MetricsHandler(), Ready: &httpapi.Readiness{}, Log: s.Logger(), Tokens: tokens,
	})
	router.HandleProbed("POST /orders", func(r *http.Request) bool { return s.orders.probes.claimed(r) }, s.orders.create)
	s.Handler = telemetry.HTTPMiddleware(s.Telemetry, httpapi.Route)(router)
	return s
}

// problem is what an answer says that is one.
func problem(t *testing.T, w *httptest.ResponseRecorder, want httpapi.ProblemType) httpapi.Problem {
	t.Helper()
	var p httpapi.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%s: %v", w.Body, err)
	}
	if p.Type != want || p.Status != w.Code || w.Code != want.Facts().Status || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %v: %s, want %s", w.Code, w.Header(), w.Body, want)
	}
	return p
}

func (s *shop) post(ctx context.Context, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/orders", strings.NewReader(body))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// counts checks the metrics of n acknowledged orders of so many cents, and of
// the answers by status.
func (s *shop) counts(t *testing.T, n int, cents int64, answers map[int]int) {
	t.Helper()
	if got := s.Metric(ordersTotal, nil); got != float64(n) {
		t.Errorf("%s is %v, want %d", ordersTotal, got, n)
	}
	if got := s.Metric(catalogue.KafkaMessagesProducedTotal, map[string]string{"topic": banking.TopicOrdersCreated}); got != float64(n) {
		t.Errorf("%s is %v, want %d", catalogue.KafkaMessagesProducedTotal, got, n)
	}
	if s.Series(orderAmountsEuros, nil) == 0 { // nothing was measured
		if n != 0 {
			t.Errorf("%s has no series", orderAmountsEuros)
		}
	} else {
		if got := s.Metric(orderAmountsEuros, nil); got != float64(n) {
			t.Errorf("%s counts %v orders, want %d", orderAmountsEuros, got, n)
		}
		if got, want := fmt.Sprintf("%.4f", s.HistogramSum(orderAmountsEuros, nil)), fmt.Sprintf("%d.%02d00", cents/100, cents%100); got != want {
			t.Errorf("%s sums to %s, want %s", orderAmountsEuros, got, want)
		}
	}
	for status, want := range answers {
		labels := map[string]string{"route": "/orders", "method": "POST", "status_code": fmt.Sprint(status)}
		if got := s.Metric(catalogue.HTTPRequestsTotal, labels); got != float64(want) {
			t.Errorf("%v answers are %d, want %d", got, status, want)
		}
	}
	s.CheckCatalogue()
}

// discreet checks that neither log nor spans contain what is the client's own.
func (s *shop) discreet(t *testing.T, secrets ...string) {
	t.Helper()
	shown := []string{fmt.Sprint(s.Logs())}
	for _, span := range s.Spans() {
		shown = append(shown, fmt.Sprint(span.Name, span.Attributes, span.Events, span.Status, span.Links))
	}
	for _, secret := range secrets {
		if i := slices.IndexFunc(shown, func(text string) bool { return strings.Contains(text, secret) }); i >= 0 {
			t.Errorf("%q is in %s", secret, shown[i])
		}
	}
}
