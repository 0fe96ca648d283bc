package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
)

// dlq runs a dlq command to its end.
func dlq(t *testing.T, brokers string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	p := launch(t, append([]string{"dlq", "--kafka-brokers", brokers}, args...)...)
	<-p.done
	return p.status, p.stdout.String(), p.stderr.String()
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
func failures(t *testing.T, s *system, n int) {
	t.Helper()
	for i := range n {
		failed(t, s, s.mustOrder(t, fmt.Sprintf("%d.5", i+1)).OrderID)
	}
}

// failed waits until suivi shows that the order's payment failed.
func failed(t *testing.T, s *system, id string) {
	t.Helper()
	eventually(t, func() error {
		var o struct {
			Status  string
			Details struct{ FailureReason string }
		}
		status, body := get(t, s.suivi+"/orders/"+id+"/status")
		if status != http.StatusOK {
			return fmt.Errorf("status of %s = %d", id, status)
		}
		if err := json.Unmarshal([]byte(body), &o); err != nil {
			return err
		}
		if o.Status != "PAYMENT_FAILED" || o.Details.FailureReason != "authoriser" {
			return fmt.Errorf("%s is %s, reason %q", id, o.Status, o.Details.FailureReason)
		}
		return nil
	})
}

// However often dead letters are replayed, and while earlier replays are in
// flight, each order is decided once.
func TestReplayedOrdersAreDecidedOnce(t *testing.T) { onEach(t, replayedOrdersAreDecidedOnce) }

func replayedOrdersAreDecidedOnce(t *testing.T, start deployment) {
	data := t.TempDir()
	const n = 6
	s := start(t, data, "--paiement-error-rate", "1", "--log-level", "error")
	failures(t, s, n)
	if got := jsonLines(t, mustDLQ(t, s.brokers, "list", "--json")); len(got) != n {
		t.Fatalf("%d dead letters, want %d: %v", len(got), n, got)
	}
	s.program.stop()

	s = start(t, data, "--paiement-latency", "500ms", "--log-level", "error")
	s.settled(t, 0) // analyseur answers, and nothing is decided
	first := mustDLQ(t, s.brokers, "replay", "--all-letters")
	second := mustDLQ(t, s.brokers, "replay", "--all-letters", "--again")
	third := mustDLQ(t, s.brokers, "replay", "--all-letters")
	for got, want := range map[string]string{
		first:  "replayed 6, failed 0, already resolved 0\n",
		second: "replayed 6, failed 0, already resolved 0\n",
		third:  "replayed 0, failed 0, already resolved 6\n",
	} {
		if got != want {
			t.Errorf("replay says %q, want %q", got, want)
		}
	}
	eventually(t, func() error { // both replays have been read
		_, all := scrape(t, s.paiement)
		labels := `{service="paiement",topic="orders.created"}`
		if read, same := all["kafka_messages_consumed_total"+labels], all["kafka_duplicates_total"+labels]; read != 2*n || same != n {
			return fmt.Errorf("%v replayed records read, %v of them known", read, same)
		}
		return nil
	})
	st := s.settled(t, n)
	if st.TotalAmount != "24.00" && st.TotalAmount != "24" { // 1.5 + … + 6.5
		t.Errorf("statistics = %+v", st)
	}
	for i := range n {
		o := s.decided(t, fmt.Sprintf("order-%d", i+1))
		if len(o.Events) != 3 || o.Events[0].Type != "OrderCreated" || o.Events[1].Type != "PaymentFailed" {
			t.Errorf("%s: events %v", o.OrderID, o.Events)
		}
	}
	if got := recordsOn(t, s.brokers, banking.TopicOrdersCreated); got != 3*n {
		t.Errorf("%d records on orders.created, want each order and two replays of it", got)
	}
	if got := recordsOn(t, s.brokers, banking.TopicOrdersDLQ); got != 3*n {
		t.Errorf("%d records on orders.dlq, want the letters and two markers for each", got)
	}
	if got := recordsOn(t, s.brokers, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected); got != n {
		t.Errorf("%d decisions published, want %d", got, n)
	}
	if got := mustDLQ(t, s.brokers, "list"); got != "no dead letters (6 resolved not shown; --all shows them)\n" {
		t.Errorf("list says %q", got)
	}
}

// recordsOn is how many records the topics hold.
func recordsOn(t *testing.T, brokers string, topics ...string) (n int64) {
	t.Helper()
	client, err := sarama.NewClient([]string{brokers}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	spans, err := kafka.Bounds(client, topics...)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range spans {
		n += s.End - s.Start
	}
	return n
}

// A replay goes on in the order's trace.
func TestAReplayContinuesTheTrace(t *testing.T) {
	data := t.TempDir()
	s := startSystem(t, data, "--paiement-error-rate", "1", "--log-level", "error")
	failures(t, s, 1)
	mustDLQ(t, s.brokers, "replay", "--order", "order-1") // fails again
	eventually(t, func() error {
		if got := jsonLines(t, mustDLQ(t, s.brokers, "list", "--json")); len(got) != 1 || got[0]["originalOffset"] != 1.0 {
			return fmt.Errorf("listed: %v", got)
		}
		return nil
	})
	traces := map[string]int{}
	for _, m := range append(consume(t, s.brokers, banking.TopicOrdersCreated, 2), consume(t, s.brokers, banking.TopicOrdersDLQ, 3)...) {
		traces[traceID(t, m)]++
	}
	if len(traces) != 1 {
		t.Errorf("the order is in several traces: %v", traces)
	}
}
