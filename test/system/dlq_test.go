//go:build !race || whole

package system_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/cli"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
	"github.com/vigie-dev/vigie/services"
)

// dlq runs a dlq command to its end.
func dlq(t *testing.T, brokers string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	p := bank.Launch(t, append([]string{"dlq", "--kafka-brokers", brokers}, args...)...)
	<-p.Done
	return p.Status, p.Stdout.String(), p.Stderr.String()
}

// mustDLQ runs a dlq command that has to succeed, and returns its output.
func mustDLQ(t *testing.T, brokers string, args ...string) string {
	t.Helper()
	status, stdout, stderr := dlq(t, brokers, args...)
	if status != 0 || stderr != "" {
		t.Fatalf("vigie dlq %v = %d: %s%s", args, status, stdout, stderr)
	}
	return stdout
}

// jsonLines reads what --json wrote.
func jsonLines(t *testing.T, text string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for line := range strings.Lines(text) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		out = append(out, object)
	}
	return out
}

// failures places orders that paiement cannot decide, and waits until suivi
// shows them as failed.
func failures(t *testing.T, s *bank.Bank, n int) {
	t.Helper()
	for i := range n {
		failed(t, s, s.MustOrder(t, fmt.Sprintf("%d.5", i+1)).OrderID)
	}
}

// failed waits until suivi shows that the order's payment failed with the authoriser.
func failed(t *testing.T, s *bank.Bank, id string) {
	t.Helper()
	failedFor(t, s, id, "authoriser")
}

func failedFor(t *testing.T, s *bank.Bank, id, reason string) {
	t.Helper()
	bank.Eventually(t, func() error {
		var o struct {
			Status  string
			Details struct{ FailureReason string }
		}
		status, body := bank.Get(t, s.Suivi+"/orders/"+id+"/status")
		if status != http.StatusOK {
			return fmt.Errorf("status of %s = %d", id, status)
		}
		if err := json.Unmarshal([]byte(body), &o); err != nil {
			return err
		}
		if o.Status != "PAYMENT_FAILED" || o.Details.FailureReason != reason {
			return fmt.Errorf("%s is %s, reason %q", id, o.Status, o.Details.FailureReason)
		}
		return nil
	})
}

// answered runs a command with an answer to its question, and returns its error.
func answered(t *testing.T, answer string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	all := append([]string{"vigie"}, args...)
	if cli.Run(context.WithoutCancel(t.Context()), services.All(), all, strings.NewReader(answer), io.Discard, &stderr) == 0 {
		return ""
	}
	return stderr.String()
}

// What list, show and purge say about letters, to people and to machines.
func TestLettersAreListedShownAndPurged(t *testing.T) {
	bank.Parallel(t)
	s := bank.Start(t, t.TempDir(), "--paiement-error-rate", "1", "--log-level", "error")
	failures(t, s, 3)

	table := mustDLQ(t, s.Brokers, "list")
	look := bank.Launch(t, "doctor", "--services-only", "--timeout", "10m", "--json", "--kafka-brokers", s.Brokers,
		"--commande-addr", "", "--suivi-addr", "", "--analyseur-addr", "", "--paiement-addr", "", "--sentinelle-addr", "")
	<-look.Done
	for _, want := range []string{
		`{"part":"dead letters","ok":false,"detail":"wait: 3 (3 authoriser), the oldest for `, `{"part":"paiement-svc","ok":true,`,
		`{"part":"suivi-svc","ok":true,`, `{"part":"analyseur-svc","ok":true,`, `{"part":"Kafka's topics","ok":true,`,
	} {
		if got := look.Stdout.String(); look.Status != 1 || strings.Count(got, want) != 1 || strings.Count(got, `"ok":false`) != 1 {
			t.Errorf("the doctor says (status %d), without %s:\n%s", look.Status, want, got)
		}
	}
	row := regexp.MustCompile(`(?m)^(orders\.dlq/[0-2]/\d+) +\d+s +authoriser +transient +paiement-svc +3 +(order-[123]) +orders\.created/[0-2]/\d+$`)
	rows := row.FindAllStringSubmatch(table, -1)
	if len(rows) != 3 || rows[0][2] != "order-1" || rows[2][2] != "order-3" || !strings.HasSuffix(table, "\n3 dead letters: 3 authoriser\n") {
		t.Fatalf("list:\n%s", table)
	}
	id := rows[1][1]
	l := jsonLines(t, mustDLQ(t, s.Brokers, "list", "--json", "--order", "order-2"))
	if len(l) != 1 || l[0]["id"] != id || l[0]["reason"] != "authoriser" || l[0]["attempts"] != 3.0 || l[0]["resolution"] != nil ||
		l[0]["originalTopic"] != "orders.created" || l[0]["failedAt"] == "" {
		t.Errorf("list --json: %v", l)
	}

	text := mustDLQ(t, s.Brokers, "show", id)
	for _, want := range []string{
		id + "\n", "order-2\n", "waits\n", "authoriser (transient, tried 3 times)\n", "\nheaders\n", "eventType ", "\ntrace\n",
		"\nvalue, JSON, ", "\n  \"orderId\": \"order-2\",\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("show does not say %q:\n%s", want, text)
		}
	}
	whole := jsonLines(t, mustDLQ(t, s.Brokers, "show", id, "--json"))[0]
	if value, ok := whole["value"].(map[string]any); !ok || value["orderId"] != "order-2" || len(whole["headers"].([]any)) != 2 {
		t.Errorf("show --json: %v", whole)
	}

	status, out, errs := dlq(t, s.Brokers, "purge", id) // standard input says nothing
	if status != 1 || !strings.Contains(errs, "not confirmed") || !strings.Contains(out, "1 dead letter will be given up for good") ||
		!strings.Contains(out, "1 order will never be decided, neither paid nor rejected, which cannot be taken back: order-2") {
		t.Errorf("unconfirmed purge = %d: %s%s", status, out, errs)
	}
	if got := answered(t, "no\n", "dlq", "--kafka-brokers", s.Brokers, "purge", id); !strings.Contains(got, "not confirmed") {
		t.Errorf("purge, answered no: %q", got)
	}
	if got := answered(t, "yes\n", "dlq", "--kafka-brokers", s.Brokers, "purge", id); got != "" {
		t.Errorf("purge, answered yes: %s", got)
	}
	purged := jsonLines(t, mustDLQ(t, s.Brokers, "purge", "--yes", "--json", "--reason", "authoriser", "--older-than", "1ns"))
	if last := purged[len(purged)-1]; len(purged) != 4 || last["purged"] != 2.0 || last["alreadyResolved"] != 1.0 || last["failed"] != 0.0 {
		t.Errorf("purge --json: %v", purged)
	}
	if got := mustDLQ(t, s.Brokers, "list", "--all"); strings.Count(got, "  purged ") != 3 {
		t.Errorf("list --all:\n%s", got)
	}
	if got := mustDLQ(t, s.Brokers, "list", "--order", "order-9"); got != "no dead letters match\n" {
		t.Errorf("list of nothing: %q", got)
	}
	if got := mustDLQ(t, s.Brokers, "purge", "--yes", "--all-letters"); got != "purged 0, failed 0, already resolved 3, already decided 0\n" {
		t.Errorf("purge of what is purged: %q", got)
	}
	if status, out, errs := dlq(t, s.Brokers, "replay", "--again", id); status != 1 || !strings.Contains(errs, "purged, which is for good") {
		t.Errorf("replay --again of what is purged = %d: %s%s", status, out, errs)
	}
	failed(t, s, "order-2") // a purged order stays as it is
}

// However often dead letters are replayed, and while earlier replays are in
// flight, each order is decided once.
func TestReplayedOrdersAreDecidedOnce(t *testing.T) { bank.OnEach(t, replayedOrdersAreDecidedOnce) }

func replayedOrdersAreDecidedOnce(t *testing.T, start bank.Deployment) {
	data := t.TempDir()
	const n = 6
	s := start(t, data, "--paiement-error-rate", "1", "--log-level", "error")
	failures(t, s, n)
	if got := jsonLines(t, mustDLQ(t, s.Brokers, "list", "--json")); len(got) != n {
		t.Fatalf("%d dead letters, want %d: %v", len(got), n, got)
	}
	s.Program.Stop()

	s = start(t, data, "--paiement-latency", "500ms", "--log-level", "error")
	s.Settled(t, 0) // analyseur answers, and nothing is decided
	first := mustDLQ(t, s.Brokers, "replay", "--all-letters")
	if want := "replayed 6, failed 0, already resolved 0, already decided 0\n"; first != want {
		t.Errorf("replay says %q, want %q", first, want)
	}
	// While the first is in flight; what has been decided by then is left alone.
	second := regexp.MustCompile(`^replayed (\d), failed 0, already resolved 0, already decided (\d)\n$`).
		FindStringSubmatch(mustDLQ(t, s.Brokers, "replay", "--all-letters", "--again"))
	if second == nil {
		t.Fatal("the second replay says something else")
	}
	again, _ := strconv.Atoi(second[1])
	if decided, _ := strconv.Atoi(second[2]); again+decided != n {
		t.Errorf("the second replay replayed %d and found %d decided, of %d", again, decided, n)
	}
	bank.Eventually(t, func() error { // both replays have been read
		_, all := bank.Scrape(t, s.Paiement)
		labels := `{service="paiement",topic="orders.created"}`
		if read, same := all["kafka_messages_consumed_total"+labels], all["kafka_duplicates_total"+labels]; read != float64(n+again) || same != float64(again) {
			return fmt.Errorf("%v replayed records read, %v of them known", read, same)
		}
		return nil
	})
	st := s.Settled(t, n)
	if st.TotalAmount != "24.00" && st.TotalAmount != "24" { // 1.5 + … + 6.5
		t.Errorf("statistics = %+v", st)
	}
	for i := range n {
		o := s.Decided(t, fmt.Sprintf("order-%d", i+1))
		if len(o.Events) != 3 || o.Events[0].Type != "OrderCreated" || o.Events[1].Type != "PaymentFailed" {
			t.Errorf("%s: events %v", o.OrderID, o.Events)
		}
	}
	if got := recordsOn(t, s.Brokers, banking.TopicOrdersCreated); got != int64(2*n+again) {
		t.Errorf("%d records on orders.created, want each order and its replays", got)
	}
	if got := recordsOn(t, s.Brokers, banking.TopicOrdersDLQ); got != int64(2*n+again) {
		t.Errorf("%d records on orders.dlq, want the letters and a marker for each replay", got)
	}
	if got := recordsOn(t, s.Brokers, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected); got != n {
		t.Errorf("%d decisions published, want %d", got, n)
	}
	if got := mustDLQ(t, s.Brokers, "list"); got != "no dead letters (6 letters of decided orders not shown; --all shows them)\n" {
		t.Errorf("list says %q", got)
	}
	if got := mustDLQ(t, s.Brokers, "replay", "--all-letters", "--again"); got != "replayed 0, failed 0, already resolved 0, already decided 6\n" {
		t.Errorf("replay of what is decided says %q", got)
	}
	if got := mustDLQ(t, s.Brokers, "purge", "--all-letters", "--yes"); got != "purged 0, failed 0, already resolved 0, already decided 6\n" {
		t.Errorf("purge of what is decided says %q", got)
	}
}

// recordsOn is how many records the topics hold.
func recordsOn(t *testing.T, brokers string, topics ...string) (n int64) {
	t.Helper()
	client, err := kafka.Connect(t.Context(), kafka.Config{Brokers: []string{brokers}, Patience: bank.Patience})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	spans, err := kafka.Bounds(t.Context(), client, topics...)
	if err != nil {
		t.Fatal(err)
	}
	return kafka.Length(spans)
}

// A replay goes on in the order's trace.
func TestAReplayContinuesTheTrace(t *testing.T) {
	bank.Parallel(t)
	data := t.TempDir()
	s := bank.Start(t, data, "--paiement-error-rate", "1", "--log-level", "error")
	failures(t, s, 1)
	mustDLQ(t, s.Brokers, "replay", "--order", "order-1") // fails again
	bank.Eventually(t, func() error {
		if got := jsonLines(t, mustDLQ(t, s.Brokers, "list", "--json")); len(got) != 1 || got[0]["originalOffset"] != 1.0 {
			return fmt.Errorf("listed: %v", got)
		}
		return nil
	})
	traces := map[string]int{}
	for _, m := range append(consume(t, s.Brokers, banking.TopicOrdersCreated, 2), consume(t, s.Brokers, banking.TopicOrdersDLQ, 3)...) {
		traces[traceID(t, m)]++
	}
	if len(traces) != 1 {
		t.Errorf("the order is in several traces: %v", traces)
	}
}

// An id that names nothing fails, and the others are replayed all the same.
func TestAPartialReplayExitsWithOne(t *testing.T) {
	bank.Parallel(t)
	s := bank.Start(t, t.TempDir(), "--paiement-error-rate", "1", "--log-level", "error")
	failures(t, s, 1)
	id := jsonLines(t, mustDLQ(t, s.Brokers, "list", "--json"))[0]["id"].(string)
	status, out, errs := dlq(t, s.Brokers, "replay", id, "orders.dlq/0/999", "orders.dlq/0/999")
	if status != 1 || out != "replayed 1, failed 1, already resolved 0, already decided 0\n" ||
		!strings.Contains(errs, "orders.dlq/0/999") || !strings.Contains(errs, "vigie: 1 letter not replayed\n") {
		t.Errorf("replay = %d: %s%s", status, out, errs)
	}
	status, out, _ = dlq(t, s.Brokers, "replay", "--json", "orders.dlq/0/999")
	lines := jsonLines(t, out)
	if status != 1 || len(lines) != 2 || lines[0]["outcome"] != "failed" || lines[0]["error"] == "" || lines[1]["failed"] != 1.0 {
		t.Errorf("replay --json = %d: %s", status, out)
	}
	status, out, errs = dlq(t, s.Brokers, "show", "orders.dlq/0/999")
	if status != 1 || out != "" || !strings.Contains(errs, "no such dead letter") {
		t.Errorf("show = %d: %s%s", status, out, errs)
	}
}

// What is asked for wrongly is reported in one line, before anything is connected.
func TestDLQRefusesToGuess(t *testing.T) {
	bank.Parallel(t)
	for args, want := range map[string]string{
		"replay":                              "--all-letters",
		"purge":                               "--all-letters",
		"purge --yes":                         "--all-letters",
		"replay --all-letters orders.dlq/0/1": "leave it out",
		"purge --all-letters --order x":       "leave it out",
		"purge --json --all-letters":          "--yes",
		"replay orders.created/0/1":           "no topic of dead letters",
		"replay 42":                           "orders.dlq/1/42",
		"show":                                "one id",
		"show orders.dlq/0/1 orders.dlq/0/2":  "one id",
		"list orders.dlq/0/1":                 "takes no arguments",
		"list --reason bad-luck":              "contradictory",
		"list --topic orders":                 "payments.dlq",
		"list --older-than soon":              "older-than",
		"list --nonsense":                     "nonsense",
		"lst":                                 "did you mean list?",
	} {
		status, stdout, stderr := dlq(t, "127.0.0.1:1", strings.Fields(args)...)
		if status != 2 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, want) {
			t.Errorf("vigie dlq %s = %d: %s%s; want one line with %q", args, status, stdout, stderr, want)
		}
	}
}

func TestDLQWithoutABrokerOrTopics(t *testing.T) {
	bank.Parallel(t)
	status, _, stderr := dlq(t, "127.0.0.1:1", "--kafka-patience", bank.OneTry, "list")
	if status != 1 || !strings.Contains(stderr, "KAFKA_BROKERS") {
		t.Errorf("without a broker = %d: %s", status, stderr)
	}
	broker := bank.Launch(t, "broker", "--data", t.TempDir(), "--broker-addr", "127.0.0.1:0")
	address := broker.Stdout.Wait(t, `listens on (\S+)`, broker.Done)[1]
	status, _, stderr = dlq(t, address, "list")
	if status != 1 || !strings.Contains(stderr, "vigie topics") || !strings.Contains(stderr, "orders.dlq") {
		t.Errorf("without topics = %d: %s", status, stderr)
	}
}
