package explain_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/explain"
	"github.com/vigie-dev/vigie/internal/promapi"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	"github.com/vigie-dev/vigie/monitoring"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func book(t *testing.T) explain.Book {
	t.Helper()
	all, err := explain.Read(monitoring.Files)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Every shipped alert has what a report is made of.
func TestEveryAlertIsInTheBook(t *testing.T) {
	all := book(t)
	if len(all) < 15 {
		t.Errorf("%d alerts", len(all))
	}
	queries := 0
	for _, a := range all {
		if a.Severity == "" || a.Summary == "" || a.Expr == "" || a.Sections["Meaning"] == "" || a.Sections["Impact"] == "" || a.Sections["Fix"] == "" {
			t.Errorf("%+v lacks something", a)
		}
		for _, q := range a.Queries {
			queries++
			if strings.Contains(q.Expr, "#") || q.Expr == "" {
				t.Errorf("%s: %+v", a.Name, q)
			}
		}
	}
	if queries == 0 {
		t.Error("no runbook has a query")
	}
	if a, ok := all.Find("consumerlaghigh"); !ok || a.Name != "ConsumerLagHigh" {
		t.Errorf("Find = %v, %v", a.Name, ok)
	}
}

// prometheus answers rules and queries, and keeps what it was asked.
type prometheus struct {
	rules   string
	answers map[string]string // a part of the query → the result's JSON
	asked   []string
}

func (p *prometheus) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if strings.HasSuffix(r.URL.Path, "/rules") {
		fmt.Fprintf(w, `{"status":"success","data":{"groups":[{"name":"g","file":"f","interval":15,"rules":[%s]}]}}`, p.rules)
		return
	}
	query := r.FormValue("query")
	p.asked = append(p.asked, query)
	for part, answer := range p.answers {
		if strings.Contains(query, part) {
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[%s]}}`, answer)
			return
		}
	}
	fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
}

func rule(name, state, alerts string) string {
	return fmt.Sprintf(`{"type":"alerting","name":%q,"query":"x","duration":60,"labels":{},"annotations":{},"health":"ok","state":%q,
		"evaluationTime":0.1,"lastEvaluation":"2026-11-28T12:00:00Z","alerts":[%s]}`, name, state, alerts)
}

func explained(t *testing.T, p *prometheus, name string, source explain.Source) explain.Report {
	t.Helper()
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	client, err := promapi.New(promapi.Config{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	alert, ok := book(t).Find(name)
	if !ok {
		t.Fatalf("no alert %s", name)
	}
	source.Prometheus, source.Words = client, error.Error
	return explain.Explain(t.Context(), source, alert, noon())
}

func noon() time.Time { return time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC) }

// A lag that is too high names group, partition and the orders that wait, and the
// runbook's queries ask about the service that is behind, not the example's.
func TestAFiringLagNamesWhatIsBehindIt(t *testing.T) {
	p := &prometheus{
		rules: rule("ConsumerLagHigh", "firing", `{"labels":{"alertname":"ConsumerLagHigh","severity":"warning","service":"suivi","topic":"orders.created"},
			"annotations":{"summary":"suivi is 2m behind"},"state":"firing","activeAt":"2026-11-28T11:57:30Z","value":"120"}`),
		answers: map[string]string{
			"topk(3": `{"metric":{"service":"suivi","topic":"orders.created","partition":"2"},"value":[1764331200,"120.5"]},
				{"metric":{"service":"suivi","topic":"orders.created","partition":"0"},"value":[1764331200,"3"]}`,
			"max by (partition)": `{"metric":{"partition":"2"},"value":[1764331200,"120.5"]},{"metric":{"partition":"1"},"value":[1764331200,"NaN"]}`,
		},
	}
	r := explained(t, p, "ConsumerLagHigh", explain.Source{
		Groups: map[string]string{"suivi": "suivi-svc"},
		Waiting: func(context.Context, int) ([]explain.Order, error) {
			return []explain.Order{{ID: "order-7"}}, nil
		},
	})
	text := r.Text(noon())
	for _, want := range []string{
		"ConsumerLagHigh (warning): firing for 2m30s\n",
		"firing since 2026-11-28T11:57:30Z (2m30s ago): suivi is 2m behind\n",
		`max by (partition) (kafka_consumer_lag_seconds{service="suivi"})`, "# one partition, or all?",
		`{partition="2"}  120.5` + "\n", `{partition="1"}  not a number` + "\n", "    no data\n",
		"group suivi-svc, partition orders.created/2: 2m1s behind\n", "  order-7\n", "vigie trace order-7\n", "WHAT TO DO\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in:\n%s", want, text)
		}
	}
	for _, q := range p.asked {
		if strings.Contains(q, `service="paiement"`) {
			t.Errorf("asked about another service: %s", q)
		}
	}
	if p := r.Partitions[0]; p.Partition != "2" || p.Seconds != 120.5 {
		t.Errorf("the worst partition is %+v", p)
	}
}

// Letters name their orders and traces, of the reason that the alert is about.
func TestFiringDeadLettersNameTheirOrders(t *testing.T) {
	p := &prometheus{rules: rule("DeadLetters", "firing", `{"labels":{"alertname":"DeadLetters","service":"paiement","reason":"authoriser"},
		"annotations":{"summary":"3 letters"},"state":"firing","activeAt":"2026-11-28T11:59:00Z","value":"3"}`)}
	order := explain.Order{ID: "order-7", Letter: "orders.dlq/1/42", Reason: "authoriser", Trace: "4bf92f3577b34da6a3ce929d0e0e4736"}
	r := explained(t, p, "DeadLetters", explain.Source{Letters: func(_ context.Context, reason string, limit int) ([]explain.Order, error) {
		if reason != "authoriser" || limit == 0 {
			t.Errorf("asked for %d letters of reason %q", limit, reason)
		}
		return []explain.Order{order}, nil
	}})
	if diff := cmp.Diff([]explain.Order{order}, r.Orders); diff != "" {
		t.Error(diff)
	}
	text := r.Text(noon())
	for _, want := range []string{
		"order-7, dead letter orders.dlq/1/42 (authoriser), trace 4bf92f3577b34da6a3ce929d0e0e4736\n",
		"NEXT\n  vigie dlq show orders.dlq/1/42\n  vigie trace order-7\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in:\n%s", want, text)
		}
	}
}

// What an alert asks says which orders are behind it.
func TestAlertsNameTheOrdersBehindThem(t *testing.T) {
	letter, waits := explain.Order{ID: "order-1"}, explain.Order{ID: "order-2"}
	for alert, want := range map[string][]explain.Order{
		"DeadLetters": {letter}, "DeadLettersWaiting": {letter}, "PaymentsFailing": {letter},
		"OrdersNotDecided": {waits}, "ConsumerStalled": {waits}, "GroupAbandoned": {waits}, "ServiceDown": {},
	} {
		r := explained(t, &prometheus{rules: rule(alert, "inactive", "")}, alert, explain.Source{
			Letters: func(context.Context, string, int) ([]explain.Order, error) { return []explain.Order{letter}, nil },
			Waiting: func(context.Context, int) ([]explain.Order, error) { return []explain.Order{waits}, nil },
		})
		if diff := cmp.Diff(want, r.Orders); diff != "" {
			t.Errorf("%s: %s", alert, diff)
		}
	}
}

func TestWhatIsNotKnownIsSaid(t *testing.T) {
	for name, tt := range map[string]struct {
		rules, state, why string
	}{
		"quiet":          {rule("DeadLetters", "inactive", ""), explain.Inactive, ""},
		"about to":       {rule("DeadLetters", "pending", ""), explain.Pending, ""},
		"not evaluated":  {rule("ServiceDown", "firing", ""), explain.Unknown, "does not evaluate the alert"},
		"a broken rule":  {strings.Replace(rule("DeadLetters", "inactive", ""), `"health":"ok"`, `"health":"err","lastError":"no such label"`, 1), explain.Unknown, "no such label"},
		"not yet":        {strings.Replace(rule("DeadLetters", "inactive", ""), `"health":"ok"`, `"health":"unknown"`, 1), explain.Unknown, "not evaluated its rule yet"},
		"a bad answer":   {`{"type":"unheard of"}`, explain.Unknown, "Prometheus at http://127.0.0.1"},
		"other's silent": {"", explain.Unknown, "does not evaluate the alert"},
	} {
		r := explained(t, &prometheus{rules: tt.rules}, "DeadLetters", explain.Source{
			Letters: func(context.Context, string, int) ([]explain.Order, error) { return nil, errors.New("Kafka is away") }, //nolint:revive // a name
		})
		if r.State != tt.state || !strings.Contains(r.Why, tt.why) {
			t.Errorf("%s: %s, %q", name, r.State, r.Why)
		}
		if text := r.Text(noon()); !strings.Contains(text, "Kafka is away") || strings.Contains(text, "does not fire") != (tt.state == explain.Inactive) {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}
