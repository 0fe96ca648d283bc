//go:build !race || whole

package system_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/journeys"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/probe"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

// probeSays waits until each partition's last probe ended so, and some have failed for that reason, ""
// for none.
func probeSays(t *testing.T, url string, success float64, reason probe.Reason) {
	t.Helper()
	bank.Eventually(t, func() error {
		_, all := bank.Scrape(t, url)
		for partition := range banking.Partitions {
			if got, known := all[fmt.Sprintf(`%s{partition="%d",service="sentinelle"}`, probe.Success, partition)]; !known || got != success {
				return fmt.Errorf("partition %d: %v (%v), want %v", partition, got, known, success)
			}
		}
		if n := all[fmt.Sprintf(`%s{reason=%q,service="sentinelle"}`, probe.FailuresTotal, reason)]; reason != "" && n == 0 {
			return fmt.Errorf("none has failed as %s", reason)
		}
		return nil
	})
}

// probesOn returns the probes that stand on a topic, by their orders.
func probesOn(t *testing.T, brokers, topic string) map[string]record.Record {
	t.Helper()
	cfg := kafka.Config{Brokers: []string{brokers}, Patience: bank.Patience}
	client, err := kafka.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	spans, err := kafka.Bounds(t.Context(), client, topic)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	found := map[string]record.Record{}
	err = kafka.Cluster{Config: cfg, Client: client}.Scan(t.Context(), spans, func(r record.Record) error {
		mu.Lock()
		defer mu.Unlock()
		if banking.IsProbe(string(r.Key)) {
			found[string(r.Key)] = r
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Probes go through the real topics, decided or set aside, and nobody finds one where
// orders are counted.
func TestNobodyFindsAProbe(t *testing.T) {
	bank.Parallel(t)
	for errorRate, topic := range map[string]string{"0": banking.TopicPaymentsAuthorized, "1": banking.TopicOrdersDLQ} {
		data := t.TempDir()
		s := bank.Start(t, data, "--sentinelle-probe-interval=10s", "--paiement-reject-rate=0", "--paiement-error-rate="+errorRate)
		if errorRate == "0" {
			probeSays(t, s.URLs["sentinelle"], 1, "")
		} else {
			probeSays(t, s.URLs["sentinelle"], 0, probe.DeadLettered)
		}
		var one string
		for id, r := range probesOn(t, s.Brokers, topic) {
			if !strings.HasSuffix(r.Header("traceparent"), "-00") {
				t.Errorf("%s is traced: %s", id, r.Header("traceparent"))
			}
			one = id
		}
		if status, body := bank.Get(t, s.Suivi+"/orders/"+one+"/status"); status != http.StatusOK || !strings.Contains(body, `"userId":"probe"`) {
			t.Errorf("suivi does not show %q: %d %s", one, status, body)
		}
		findNone(t, s, data, 0)
		if first := s.MustOrder(t, "7.50"); first.OrderID != "order-1" {
			t.Errorf("the first order is %s", first.OrderID)
		}
		if errorRate == "0" {
			s.Settled(t, 1)
			findNone(t, s, data, 1)
		}
		if status := s.Program.Stop(); status != 0 {
			t.Fatalf("vigie up ended with %d", status)
		}
		if logs := s.Program.Stderr.String(); strings.Contains(logs, `"order created","order_id":"probe-`) || strings.Contains(logs, "payment decided\",\"order_id\":\"probe-") {
			t.Errorf("the log has probes among orders")
		}
	}
}

// findNone looks for probes wherever orders are counted, of which there are so many, all paid.
func findNone(t *testing.T, s *bank.Bank, data string, orders int) {
	t.Helper()
	want := map[string]int{
		`orders_total{service="commande"}`:                             orders,
		`order_amount_euros_count{service="commande"}`:                 orders,
		`payments_total{service="paiement",status="authorized"}`:       orders,
		`payments_total{service="paiement",status="rejected"}`:         0,
		journeys.OrdersWaiting + `{service="sentinelle"}`:              0,
		journeys.LettersOldest + `{service="sentinelle"}`:              0,
		`orders_repeated_total{outcome="replayed",service="commande"}`: 0,

		`kafka_messages_produced_total{service="commande",topic="orders.created"}`:                   orders,
		`kafka_messages_produced_total{service="paiement",topic="payments.authorized"}`:              orders,
		`kafka_messages_consumed_total{service="paiement",topic="orders.created"}`:                   orders,
		`kafka_messages_consumed_total{service="suivi",topic="orders.created"}`:                      orders,
		`kafka_messages_consumed_total{service="analyseur",topic="payments.authorized"}`:             orders,
		`kafka_messages_consumed_total{service="sentinelle",topic="orders.created"}`:                 orders,
		`kafka_message_processing_duration_seconds_count{service="paiement",topic="orders.created"}`: orders,
		`http_requests_total{method="POST",route="/orders",service="commande",status_code="201"}`:    orders,
	}
	bank.Eventually(t, func() error { // a batch is counted a moment after it can be seen
		all := map[string]float64{}
		for _, url := range s.URLs {
			_, some := bank.Scrape(t, url)
			maps.Copy(all, some)
		}
		for name, n := range want {
			if got := all[name]; got != float64(n) {
				return fmt.Errorf("%s is %v, want %d", name, got, n)
			}
		}
		if all[`http_requests_total{method="POST",route="probe",service="commande",status_code="201"}`] < banking.Partitions ||
			all[`http_requests_total{method="GET",route="probe",service="suivi",status_code="200"}`] == 0 {
			return errors.New("no probe was taken and shown")
		}
		return nil
	})
	bank.Eventually(t, func() error {
		_, all := bank.Scrape(t, s.URLs["sentinelle"])
		counted := 0
		for _, outcome := range journeys.Outcomes() {
			counted += int(all[fmt.Sprintf(`%s{outcome=%q,service="sentinelle"}`, journeys.JourneysTotal, outcome)])
		}
		if counted != orders {
			return fmt.Errorf("%d journeys, want %d", counted, orders)
		}
		return nil
	})
	var statistics bank.Statistics
	bank.GetJSON(t, s.Analyseur+"/statistics", &statistics)
	var recent struct{ Count int }
	bank.GetJSON(t, s.Analyseur+"/recent-transactions", &recent)
	if statistics.TotalTransactions != int64(orders) || statistics.LastHourCount != int64(orders) || recent.Count != orders {
		t.Errorf("analyseur has %+v and %d recent ones, want %d", statistics, recent.Count, orders)
	}
	for _, status := range append(banking.OrderStatuses(), "") {
		var list struct{ Count, TotalCount int }
		bank.GetJSON(t, s.Suivi+"/orders?status="+string(status), &list)
		want := orders
		if status != "" && status != banking.OrderStatusAuthorized {
			want = 0
		}
		if list.Count != want || list.TotalCount != want {
			t.Errorf("suivi lists %+v as %q, want %d", list, status, want)
		}
	}
	report, status := auditJSON(t, s.Brokers, "--data", data)
	if status != 0 || !report.AccountedFor || report.Created.Count != int64(orders) || report.DeadLettered.Count != 0 ||
		report.Authorized.Count != int64(orders) || report.InFlight.Count != 0 {
		t.Errorf("the audit says %d: %+v", status, report)
	}
	if text := mustDLQ(t, s.Brokers, "list", "--json"); strings.Contains(text, "probe-") {
		t.Errorf("among the dead letters: %s", text)
	}
}

// Where the way is closed, the probe says at which step.
func TestTheProbeSaysWhereTheWayIsClosed(t *testing.T) {
	bank.Parallel(t)
	data := t.TempDir()
	broker := bank.Launch(t, "broker", "--data", data, "--broker-addr", "127.0.0.1:0")
	address := broker.Stdout.Wait(t, `listens on (\S+)`, broker.Done)[1]
	token := filepath.Join(t.TempDir(), "token") // commande makes it
	other, late := token+"-of-another", token+"-that-comes-late"
	if err := os.WriteFile(other, []byte("not-the-token-for-probes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	launch := func(name string, args ...string) (*bank.Command, string) {
		p := bank.LaunchService(t, name, append([]string{"--data", data, "--kafka-brokers", address, "--log-format", "json"}, args...)...)
		found := p.Stdout.Wait(t, name+` answers at (\S+)`, p.Done)
		if found == nil {
			t.Fatalf("%s ended with %d: %s", name, p.Status, p.Stderr)
		}
		return p, found[1]
	}
	commande, taker := launch("commande", "--commande-probe-token-file", token)
	suivi, shower := launch("suivi")
	paiement, _ := launch("paiement", "--paiement-latency", "1h")
	watch := func(file string) (*bank.Command, string) {
		return launch("sentinelle", "--sentinelle-peers", "commande="+taker+",suivi="+shower, "--prometheus-url", "",
			"--sentinelle-probe-interval", "2s", "--sentinelle-probe-token-file", file)
	}
	made, err := os.ReadFile(token)
	if err != nil || len(made) < 20 {
		t.Fatalf("commande has made the token %q, %v", made, err)
	}
	sentinelle, page := watch(late)
	if _, all := bank.Scrape(t, page); all[`probe_interval_seconds{service="sentinelle"}`] != 2 || all[`probe_success{partition="0",service="sentinelle"}`] != 0 {
		t.Error("it does not say that it is to probe, or has probed without a token")
	}
	if err := os.Link(token, late); err != nil {
		t.Fatal(err)
	}
	probeSays(t, page, 0, probe.Undecided)
	paiement.Stop()
	paiement, _ = launch("paiement", "--paiement-latency", "0s")
	probeSays(t, page, 1, "")
	suivi.Stop()
	probeSays(t, page, 0, probe.SuiviAway)
	commande.Stop()
	probeSays(t, page, 0, probe.CommandeAway)
	if text := sentinelle.Stderr.String(); !strings.Contains(text, `"reason":"undecided"`) || !strings.Contains(text, "probes come through again") ||
		!strings.Contains(text, "a token is waited for") || strings.Contains(text, strings.TrimSpace(string(made))) {
		t.Errorf("the log is %s", text)
	}
	for _, p := range []*bank.Command{sentinelle, paiement} {
		if status := p.Stop(); status != 0 {
			t.Errorf("a service ended with %d", status)
		}
	}
	// With another token its orders are like any other's: one is placed, and no more.
	_, taker = launch("commande", "--commande-probe-token-file", token)
	_, shower = launch("suivi")
	sentinelle, page = watch(other)
	bank.Eventually(t, func() error {
		if _, all := bank.Scrape(t, page); all[`probe_failures_total{reason="unmarked",service="sentinelle"}`] != 1 {
			return errors.New("nothing is said of the token")
		}
		return nil
	})
	if _, all := bank.Scrape(t, taker); all[`orders_total{service="commande"}`] != 1 {
		t.Errorf("%v orders", all[`orders_total{service="commande"}`])
	}
	if text := sentinelle.Stderr.String(); !strings.Contains(text, `"order_id":"order-1"`) || !strings.Contains(text, `"level":"ERROR"`) {
		t.Errorf("the log is %s", text)
	}
}
