//go:build !race || whole

package system_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
	"github.com/vigie-dev/vigie/internal/testenv/golden"
	"github.com/vigie-dev/vigie/services"
	"github.com/vigie-dev/vigie/services/sentinelle"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// Each service's page is checked against a golden file: names, types, help,
// labels and buckets; values are left out, as are the Go runtime's and the
// process collector's own metrics, which follow their library.
func TestMetricsPages(t *testing.T) { bank.OnEach(t, metricsPages) }

func metricsPages(t *testing.T, start bank.Deployment) {
	s := start(t, t.TempDir(), "--paiement-reject-rate", "0") // whatever the number of orders, they go one way
	p := s.MustOrder(t, "100.50")
	s.Decided(t, p.OrderID)
	s.Settled(t, 1)
	for name, url := range s.URLs {
		bank.Get(t, url+"/health")
		var page string
		bank.Eventually(t, func() error { // the page counts the request for the page before it
			var all map[string]float64
			page, all = bank.Scrape(t, url)
			if all[`http_requests_total{method="GET",route="/metrics",service="`+name+`",status_code="200"}`] == 0 {
				return fmt.Errorf("%s: no request counted", name)
			}
			if name == sentinelle.Name && all[`order_visible_seconds_count{service="sentinelle"}`] == 0 {
				// What was shown before sentinelle looked for the first time took nobody knows how long.
				s.Decided(t, s.MustOrder(t, "100.50").OrderID)
				return errors.New("no order was followed to its end yet")
			}
			if lag := lagSeries(all); lag == 0 && slices.Contains(services.All().Consumers().Names(), name) {
				return fmt.Errorf("%s: no lag yet", name)
			}
			if name == sentinelle.Name && all[`audit_runs_total{outcome="accounted_for",service="sentinelle"}`] == 0 {
				return fmt.Errorf("%s: no audit yet", name)
			}
			if _, known := all[`orders_waiting{service="sentinelle"}`]; name == sentinelle.Name && !known {
				return errors.New("what waits is not known at the moment")
			}
			return nil
		})
		golden.Compare(t, name+".prom", shape(page))
		clients(t, name, page)
		strict(t, url)
	}
}

// clients checks that the page shows what sarama measures of each connection of a service.
func clients(t *testing.T, name, page string) {
	t.Helper()
	all := services.All()
	def := all[slices.Index(all.Names(), name)]
	want := []string{"admin"}
	if def.Group != "" {
		want = append(want, "consumer")
	}
	if len(def.Produces) > 0 {
		want = append(want, "producer")
	}
	for _, client := range want {
		requests := `(?m)^kafka_client_requests_total\{broker="\d+",client="` + client + `",service="` + name + `"\} [1-9]`
		if !regexp.MustCompile(requests).MatchString(page) {
			t.Errorf("%s: no requests of the client %q", name, client)
		}
	}
}

// strict checks that a service's OpenMetrics page is one that Prometheus's
// parser takes, and those of others, which are stricter.
func strict(t *testing.T, url string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err == nil {
		err = telemetrytest.CheckOpenMetrics(string(page))
	}
	if err != nil {
		t.Errorf("%s: %v", url, err)
	}
	parser := textparse.NewOpenMetricsParser(page, labels.NewSymbolTable())
	series := 0
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		if entry == textparse.EntrySeries {
			series++
		}
	}
	if series == 0 {
		t.Errorf("%s has no series", url)
	}
}

func lagSeries(all map[string]float64) (n int) {
	for s := range all {
		if strings.HasPrefix(s, "kafka_consumer_lag{") {
			n++
		}
	}
	return n
}

// shape leaves what does not vary from run to run.
func shape(page string) string {
	var out []string
	// What sentinelle sees of the cluster follows its rounds.
	// What sarama measures depends on the brokers.
	foreign := regexp.MustCompile(`^(# (HELP|TYPE) )?(go_|promhttp_|process_(cpu|max_fds|network|open_fds|resident|start|virtual)|kafka_(broker|client|topic|consumergroup))`)
	// Which payment status the order gets follows from the seed; nothing here
	// depends on how many requests a test sent.
	polled := regexp.MustCompile(`route="(/statistics|/orders/\{id\}/status)"`)
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		if foreign.MatchString(line) || polled.MatchString(line) && strings.Contains(line, `status_code="404"`) {
			continue
		}
		if !strings.HasPrefix(line, "#") {
			line = line[:strings.LastIndexByte(line, ' ')]
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n") + "\n"
}

// After n orders the counters say n.
func TestCountersSayWhatHappened(t *testing.T) { bank.OnEach(t, countersSayWhatHappened) }

func countersSayWhatHappened(t *testing.T, start bank.Deployment) {
	s := start(t, t.TempDir(), "--log-level", "warn")
	const n = 40
	var cents int64
	for i := range int64(n) {
		amount := 1 + i*i*137%90_000
		cents += amount
		s.MustOrder(t, fmt.Sprintf("%d.%02d", amount/100, amount%100))
	}
	for _, refused := range []string{`0`, `-1`, `1.005`, `"5"`, `1000000.01`} { // count nowhere
		if status, _, _ := s.Order("user123", refused); status != http.StatusBadRequest {
			t.Errorf("amount %s: %d, want 400", refused, status)
		}
	}
	st := s.Settled(t, n)
	for name, want := range map[string]map[string]float64{
		"commande": {
			`orders_total{service="commande"}`:                                                                        n,
			`order_amount_euros_count{service="commande"}`:                                                            n,
			`kafka_messages_produced_total{service="commande",topic="orders.created"}`:                                n,
			`http_requests_total{method="POST",route="/orders",service="commande",status_code="201"}`:                 n,
			`http_requests_total{method="POST",route="/orders",service="commande",status_code="400"}`:                 5,
			`http_request_duration_seconds_count{method="POST",route="/orders",service="commande",status_code="201"}`: n,
		},
		"paiement": {
			`payments_total{service="paiement",status="authorized"}`:                                     float64(st.AuthorizedTransactions),
			`payments_total{service="paiement",status="rejected"}`:                                       float64(st.RejectedTransactions),
			`kafka_messages_consumed_total{service="paiement",topic="orders.created"}`:                   n,
			`kafka_message_processing_duration_seconds_count{service="paiement",topic="orders.created"}`: n,
			`kafka_messages_produced_total{service="paiement",topic="payments.authorized"}`:              float64(st.AuthorizedTransactions),
			`kafka_messages_produced_total{service="paiement",topic="payments.rejected"}`:                float64(st.RejectedTransactions),
			`kafka_messages_produced_total{service="paiement",topic="orders.dlq"}`:                       0,
		},
		"suivi": {
			`kafka_messages_consumed_total{service="suivi",topic="orders.created"}`:      n,
			`kafka_messages_consumed_total{service="suivi",topic="payments.authorized"}`: float64(st.AuthorizedTransactions),
			`kafka_messages_consumed_total{service="suivi",topic="payments.rejected"}`:   float64(st.RejectedTransactions),
			`kafka_messages_consumed_total{service="suivi",topic="orders.dlq"}`:          0,
		},
		"analyseur": {
			`kafka_messages_consumed_total{service="analyseur",topic="payments.authorized"}`: float64(st.AuthorizedTransactions),
			`kafka_messages_consumed_total{service="analyseur",topic="payments.rejected"}`:   float64(st.RejectedTransactions),
		},
	} {
		bank.Eventually(t, func() error {
			_, all := bank.Scrape(t, s.URLs[name])
			for metric, value := range want {
				if got, ok := all[metric]; !ok || got != value {
					return fmt.Errorf("%s = %v (there: %v), want %v", metric, got, ok, value)
				}
			}
			return bank.LagIsZero(all)
		})
	}
	_, all := bank.Scrape(t, s.Commande)
	if sum := all[`order_amount_euros_sum{service="commande"}`]; math.Round(sum*100) != float64(cents) {
		t.Errorf("sum of amounts is %v, want %d cents", sum, cents)
	}
	_, all = bank.Scrape(t, s.Paiement)
	for _, kind := range []string{"rss", "heapTotal", "heapUsed", "external"} {
		if all[`process_memory_usage_bytes{service="paiement",type="`+kind+`"}`] <= 0 {
			t.Errorf("no memory of type %s", kind)
		}
	}
	if all[`process_uptime_seconds{service="paiement"}`] <= 0 {
		t.Error("no uptime")
	}
}

// Strange methods and paths fold into one series each.
func TestRandomRequestsAddAHandfulOfSeries(t *testing.T) {
	bank.OnEach(t, randomRequestsAddAHandfulOfSeries)
}

func randomRequestsAddAHandfulOfSeries(t *testing.T, start bank.Deployment) {
	s := start(t, t.TempDir(), "--log-level", "error")
	random := rand.New(rand.NewPCG(1, 2))
	_, before := bank.Scrape(t, s.Suivi)
	for range 2000 {
		method := string([]byte{byte('A' + random.IntN(26)), byte('A' + random.IntN(26)), byte('A' + random.IntN(26)), byte('A' + random.IntN(26))})
		if random.IntN(2) == 0 {
			method = []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"}[random.IntN(7)]
		}
		path := []string{"/orders/order-%d/status", "/%d", "/orders/%d", "/orders?cursor=%d", "/health/%d", "//%d/../orders"}[random.IntN(6)]
		request, err := http.NewRequest(method, s.Suivi+fmt.Sprintf(path, random.Uint64()), nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, after := bank.Scrape(t, s.Suivi)
	var added []string
	for name := range after {
		if _, ok := before[name]; !ok && strings.HasPrefix(name, "http_requests_total") {
			added = append(added, name)
		}
	}
	slices.Sort(added)
	if len(added) > 24 {
		t.Errorf("%d label sets were added:\n%s", len(added), strings.Join(added, "\n"))
	}
	for _, name := range added {
		if regexp.MustCompile(`\d{4}`).MatchString(name) {
			t.Errorf("%s carries what a client sent", name)
		}
	}
}
