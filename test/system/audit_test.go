//go:build !race || whole

package system_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/audit"
	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
	"github.com/vigie-dev/vigie/internal/testenv/golden"
)

// runsAudit runs an audit to its end.
func runsAudit(t *testing.T, brokers string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	p := bank.Launch(t, append([]string{"audit", "--kafka-brokers", brokers}, args...)...)
	<-p.Done
	return p.Status, p.Stdout.String(), p.Stderr.String()
}

// auditJSON runs an audit with --json, and returns its object and the status.
func auditJSON(t *testing.T, brokers string, args ...string) (report audit.Report, status int) {
	t.Helper()
	return readAudit(t, bank.Launch(t, append([]string{"audit", "--kafka-brokers", brokers, "--json"}, args...)...))
}

// readAudit waits for an audit with --json, and returns its object and the
// status.
func readAudit(t *testing.T, p *bank.Command) (report audit.Report, status int) {
	t.Helper()
	<-p.Done
	if err := json.Unmarshal([]byte(p.Stdout.String()), &report); err != nil || report.AccountedFor != (p.Status == 0) {
		t.Fatalf("vigie audit = %d: %v in %s%s", p.Status, err, p.Stdout, p.Stderr)
	}
	return report, p.Status
}

// A system under load, of whose payments some fail, is audited again and again
// while it goes on, and at last when everything has settled.
func TestALoadedSystemAuditsClean(t *testing.T) { bank.OnEach(t, loadedSystemAuditsClean) }

func loadedSystemAuditsClean(t *testing.T, start bank.Deployment) {
	data := t.TempDir()
	s := start(t, data, "--log-level", "error", "--paiement-error-rate", "0.5")
	stop, results := make(chan struct{}), make(chan []placed)
	go func() { results <- load(s, 8, 1, stop) }()
	for looks := 0; looks < 5; {
		report, _ := auditJSON(t, s.Brokers, "--data", data, "--patience", "0s") // clean at the first look
		if !report.AccountedFor {
			t.Fatalf("under load: %+v", report)
		}
		if report.Authorized.Count > 0 && report.DeadLettered.Count > 0 { // enough has happened to be wrong about
			looks++
		}
	}
	close(stop)
	var want audit.Sum
	for _, o := range <-results {
		if o.status != 201 {
			t.Fatalf("an order was answered with %d", o.status)
		}
		want = want.Plus(banking.Money(o.amount))
	}
	mustDLQ(t, s.Brokers, "purge", "--yes", "--reason", "authoriser", "--order", firstLetter(t, s))
	mustDLQ(t, s.Brokers, "replay", "--all-letters")
	var report audit.Report
	bank.Eventually(t, func() error {
		report, _ = auditJSON(t, s.Brokers, "--data", data)
		if !report.AccountedFor {
			t.Fatalf("after the load: %+v", report)
		}
		for _, service := range report.Services {
			if service.Unread > 0 || service.Outbox > 0 {
				return fmt.Errorf("%+v", service)
			}
		}
		return nil
	})
	if report.Created != want || report.InFlight.Count != 0 || report.Purged.Count != 1 || report.Republished.Orders == 0 {
		t.Errorf("%d orders of %s were accepted; %+v", want.Count, want.Amount, report)
	}
}

// firstLetter is the order of the oldest dead letter.
func firstLetter(t *testing.T, s *bank.Bank) string {
	t.Helper()
	return jsonLines(t, mustDLQ(t, s.Brokers, "list", "--json"))[0]["order"].(string)
}

// stopped is a stopped system with ten decided orders, whose broker still
// runs.
type stopped struct{ brokers, data string }

func startStopped(t *testing.T) stopped {
	t.Helper()
	data := t.TempDir()
	broker := bank.Launch(t, "broker", "--data", t.TempDir(), "--broker-addr", "127.0.0.1:0")
	address := broker.Stdout.Wait(t, `listens on (\S+)`, broker.Done)[1]
	s := bank.Start(t, data, "--kafka-brokers", address, "--log-level", "error")
	for i := range 10 {
		s.Decided(t, s.MustOrder(t, fmt.Sprintf("%d.05", i+1)).OrderID)
	}
	s.Settled(t, 10)
	if status := s.Program.Stop(); status != 0 {
		t.Fatalf("exit status %d: %s", status, s.Program.Stderr)
	}
	return stopped{address, data}
}

// copied returns a copy of the services' folder, of which SQL has spoilt one
// database.
func (s stopped) copied(t *testing.T, service, statement string) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(s.data)); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(folder, service, service+".db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	done, err := db.ExecContext(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		t.Fatalf("%q changed %d rows, %v", statement, n, err)
	}
	return folder
}

// What is wrong in a service's storage is found, named, and the reason to exit
// with 1.
func TestAuditOfSpoiltStorage(t *testing.T) {
	bank.Parallel(t)
	s := startStopped(t)
	if status, stdout, stderr := runsAudit(t, s.brokers, "--data", s.data); status != 0 || stderr != "" ||
		!strings.Contains(stdout, "\ncreated                 10       55.50\n") || !strings.HasSuffix(stdout, "\nevery order is accounted for once\n") {
		t.Fatalf("before = %d:\n%s%s", status, stdout, stderr)
	}
	cases := map[string]struct {
		service, statement string
		want               []string
		verdict            string
	}{
		"ledger row deleted": {
			"paiement", `DELETE FROM ledger WHERE order_id = 'order-4'`,
			[]string{"result_without_ledger order-4"}, "order-4 decided without a ledger row",
		},
		"ledger row added": {
			"paiement", `INSERT INTO ledger VALUES ('order-77', 'e', 'r', 'AUTHORIZED', 100, 1000000 * unixepoch())`,
			[]string{"ledger_without_result order-77"}, "order-77 in the ledger without a published result",
		},
		"ledger amount changed": {
			"paiement", `UPDATE ledger SET amount = amount + 1 WHERE order_id IN ('order-4', 'order-10')`,
			[]string{"ledger_disagrees order-4", "ledger_disagrees order-10"}, "order-4 ledger and result disagree",
		},
		"ledger lost": {
			"paiement", `DELETE FROM ledger`,
			[]string{"result_without_ledger order-1", "result_without_ledger order-2", "result_without_ledger order-3"}, "differences: 10",
		},
		"position beyond the log": {
			"paiement", `UPDATE positions SET next_offset = 1000 WHERE topic = 'orders.created' AND partition = 1`,
			[]string{"outside_log"}, "a position is outside the log",
		},
		"view deleted":    {"suivi", `DELETE FROM orders WHERE order_id = 'order-4'`, []string{"view_missing order-4"}, "order-4 missing in suivi"},
		"view gone back":  {"suivi", `UPDATE orders SET status = 'ORDER_CREATED' WHERE order_id = 'order-4'`, []string{"view_wrong order-4"}, "order-4 wrong in suivi"},
		"event forgotten": {"suivi", `UPDATE orders SET events = '[{}]' WHERE order_id = 'order-4'`, []string{"view_wrong order-4"}, "order-4 wrong in suivi"},
		"not counted":     {"analyseur", `DELETE FROM transactions WHERE order_id = 'order-4'`, []string{"not_counted order-4"}, "order-4 not counted by analyseur"},
		"counted twice": {
			"analyseur", `UPDATE totals SET count = count + 1, amount = amount + 405 WHERE status = 'AUTHORIZED'`,
			[]string{"totals_wrong"}, "analyseur's totals are wrong",
		},
		"count forged": {
			"suivi", `UPDATE counters SET value = value + 1000 WHERE name = 'PAYMENT_AUTHORIZED'`,
			[]string{"count_wrong"}, "suivi's count of orders is wrong",
		},
		"user forged":  {"suivi", `UPDATE orders SET user_id = 'mallory' WHERE order_id = 'order-4'`, []string{"view_wrong order-4"}, "order-4 wrong in suivi"},
		"items forged": {"suivi", `UPDATE orders SET items = '["x"]' WHERE order_id = 'order-4'`, []string{"view_wrong order-4"}, "order-4 wrong in suivi"},
		"code forged":  {"suivi", `UPDATE orders SET authorization_code = 'AUTH-FORGED' WHERE order_id = 'order-4'`, []string{"view_wrong order-4"}, "order-4 wrong in suivi"},
		"times forged": {"suivi", `UPDATE orders SET listed_at = 0, processed_at = 1 WHERE order_id = 'order-4'`, []string{"view_wrong order-4"}, "order-4 wrong in suivi"},
		"last hour forged": {
			"analyseur", `UPDATE minutes SET count = count + 100, amount = amount + 999999 WHERE minute = (SELECT MAX(minute) FROM minutes)`,
			[]string{"minutes_wrong"}, "analyseur's minutes are wrong",
		},
		"counted for another user": {
			"analyseur", `UPDATE transactions SET user_id = 'mallory' WHERE order_id = 'order-4'`,
			[]string{"counted_wrong order-4"}, "order-4 counted wrong by analyseur",
		},
		"purged in the ledger alone": {
			"paiement", `UPDATE ledger SET status = 'PURGED' WHERE order_id = 'order-4'`,
			[]string{"purged_and_decided order-4"}, "order-4 purged and decided",
		},
	}
	// All of them side by side: an audit mostly waits for the broker. Nothing
	// moves, so the first look is the last.
	asJSON, asText := map[string]*bank.Command{}, map[string]*bank.Command{}
	for name, tt := range cases {
		args := []string{
			"audit", "--kafka-brokers", s.brokers, "--database-url", "sqlite:" + s.copied(t, tt.service, tt.statement), "--patience", "0s", "--limit", "3",
		}
		asJSON[name], asText[name] = bank.Launch(t, append(args, "--json")...), bank.Launch(t, args...)
	}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			report, status := readAudit(t, asJSON[name])
			var got []string
			for _, d := range report.Differences {
				got = append(got, strings.TrimSpace(string(d.Kind)+" "+d.OrderID))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || status != 1 {
				t.Errorf("exit status %d (-want +got):\n%s%v", status, diff, report.Differences)
			}
			p := asText[name]
			<-p.Done
			if stdout, stderr := p.Stdout.String(), p.Stderr.String(); p.Status != 1 || strings.Count(stderr, "\n") != 1 ||
				!strings.Contains(stderr, tt.verdict) || !strings.Contains(stdout, fmt.Sprintf("\ndifferences: %d\n", report.DifferenceCount)) {
				t.Errorf("exit status %d:\n%s%s", p.Status, stdout, stderr)
			}
		})
	}
}

// forge publishes a second decision of an order.
func forge(t *testing.T, s *bank.Bank, p bank.Placed, amount banking.Money) {
	t.Helper()
	s.Decided(t, p.OrderID)
	event := banking.PaymentAuthorized{
		EventID: banking.NewEventID(), OrderID: p.OrderID, UserID: "user123", Amount: amount, Status: banking.StatusAuthorized,
		AuthorizationCode: "FORGED", ProcessedAt: time.Now().UTC(),
	}
	m, err := delivery.Encode(event, p.EventID)
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := kafka.NewPublisher(t.Context(), kafka.Config{Brokers: []string{s.Brokers}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = publisher.Close() }()
	forged := &sarama.ProducerMessage{Topic: m.Topic, Key: sarama.ByteEncoder(m.Key), Value: sarama.ByteEncoder(m.Value)}
	for _, h := range m.Headers {
		forged.Headers = append(forged.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	if err := publisher.Publish(t.Context(), forged); err != nil {
		t.Fatal(err)
	}
}

// A result that somebody forges is found, and the system's own stay.
func TestAuditOfAForgedResult(t *testing.T) {
	bank.Parallel(t)
	data := t.TempDir()
	s := bank.Start(t, data, "--log-level", "error")
	p := s.MustOrder(t, "12.34")
	s.Settled(t, 1)
	forge(t, s, p, 1234)
	bank.Eventually(t, func() error { // the others set it aside
		report, status := auditJSON(t, s.Brokers, "--data", data, "--patience", "0s")
		if status != 1 || len(report.Differences) != 1 || report.Differences[0].Kind != audit.DecidedTwice || report.Differences[0].OrderID != p.OrderID {
			t.Fatalf("exit status %d: %+v", status, report)
		}
		want := []audit.OtherDeadLetter{
			{Group: banking.GroupAnalyseur, Topic: banking.TopicPaymentsAuthorized, Reason: "contradictory", Waiting: 1},
			{Group: banking.GroupSuivi, Topic: banking.TopicPaymentsAuthorized, Reason: "contradictory", Waiting: 1},
		}
		if diff := cmp.Diff(want, report.OtherDeadLetters); diff != "" {
			return fmt.Errorf("dead letters of others (-want +got):\n%s", diff)
		}
		return nil
	})
}

// The JSON is a contract: names and values of a settled system as they are
// stored.
func TestAuditJSON(t *testing.T) {
	bank.Parallel(t)
	s := startStopped(t)
	folder := s.copied(t, "suivi", `DELETE FROM orders WHERE order_id IN ('order-4', 'order-5')`)
	if err := os.RemoveAll(filepath.Join(folder, "analyseur")); err != nil {
		t.Fatal(err)
	}
	status, stdout, _ := runsAudit(t, s.brokers, "--database-url", "sqlite:"+folder, "--patience", "0s", "--limit", "1", "--json")
	if status != 1 || strings.Count(stdout, "\n") != 1 {
		t.Errorf("exit status %d:\n%s", status, stdout)
	}
	var text bytes.Buffer
	if err := json.Indent(&text, []byte(stdout), "", "  "); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "audit.json", strings.ReplaceAll(text.String(), folder, "FOLDER"))
}

// A look leaves no trace: what is stored and published is as before, and no
// service's folder is locked or made.
func TestAuditChangesNothing(t *testing.T) {
	bank.Parallel(t)
	s := startStopped(t)
	if err := os.RemoveAll(filepath.Join(s.data, "suivi")); err != nil {
		t.Fatal(err)
	}
	var topics []string
	for _, topic := range banking.Topics() {
		topics = append(topics, topic.Name)
	}
	before, records := databases(t, s.data), recordsOn(t, s.brokers, topics...)
	status, stdout, stderr := runsAudit(t, s.brokers, "--data", s.data)
	if status != 1 || !strings.Contains(stdout, "\nsuivi: not looked at: storage is not there: suivi has no file ") ||
		!strings.HasPrefix(stderr, "vigie: it cannot be told whether every order is accounted for: suivi was not looked at") {
		t.Errorf("exit status %d:\n%s%s", status, stdout, stderr)
	}
	if diff := cmp.Diff(before, databases(t, s.data)); diff != "" {
		t.Errorf("the folder (-before +after):\n%s", diff)
	}
	if n := recordsOn(t, s.brokers, topics...); n != records {
		t.Errorf("%d records, there were %d", n, records)
	}
}

// databases returns the content of a data folder's databases and locks.
func databases(t *testing.T, data string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"*/*.db", "*/lock", "*"} {
		files, err := filepath.Glob(filepath.Join(data, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			content, err := os.ReadFile(f)
			if info, statErr := os.Stat(f); statErr == nil && info.IsDir() {
				content, err = []byte("a folder"), nil
			}
			if err != nil {
				t.Fatal(err)
			}
			out[f] = string(content)
		}
	}
	return out
}

// What keeps an audit from beginning is reported in one line that names what to
// change.
func TestAuditThatCannotBegin(t *testing.T) {
	bank.Parallel(t)
	s := startStopped(t)
	other := startStopped(t)
	empty := bank.Launch(t, "broker", "--data", t.TempDir(), "--broker-addr", "127.0.0.1:0")
	topicless := empty.Stdout.Wait(t, `listens on (\S+)`, empty.Done)[1]
	for name, tt := range map[string]struct {
		status  int
		brokers string
		args    []string
		want    []string
	}{
		"no broker":       {1, "127.0.0.1:1", []string{"--kafka-patience", bank.OneTry}, []string{"KAFKA_BROKERS"}},
		"no topics":       {1, topicless, []string{"--data", s.data}, []string{"vigie topics"}},
		"no storage":      {1, s.brokers, []string{"--data", t.TempDir()}, []string{"not there", "--data"}},
		"another cluster": {1, s.brokers, []string{"--data", other.data}, []string{"belongs to another cluster", "--data"}},
		"bad storage":     {2, s.brokers, []string{"--database-url", "mysql:x"}, []string{"DATABASE_URL"}},
		"bad limit":       {2, s.brokers, []string{"--limit", "-1"}, []string{"limit", "negative"}},
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := runsAudit(t, tt.brokers, tt.args...)
			if status != tt.status || stdout != "" || strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit status %d:\n%s%s", status, stdout, stderr)
			}
			for _, want := range tt.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("%q does not name %q", stderr, want)
				}
			}
		})
	}
}

// Where retention has cut the log, an audit says from where on it is complete and
// calls nothing lost that lies before.
func TestAuditOfACutLog(t *testing.T) {
	bank.Parallel(t)
	s := startStopped(t)
	deleteRecords(t, s.brokers, banking.TopicOrdersCreated, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected)
	again := bank.Start(t, s.data, "--kafka-brokers", s.brokers, "--log-level", "error")
	for range 5 {
		again.Decided(t, again.MustOrder(t, "1").OrderID)
	}
	again.Settled(t, 15)
	report, status := auditJSON(t, s.brokers, "--data", s.data)
	if status != 0 || report.Created != (audit.Sum{Count: 5, Amount: audit.CentsOf(500)}) || len(report.Cut) == 0 {
		t.Errorf("exit status %d: %+v", status, report)
	}
	if o := report.OlderThanLog; o.Ledger != 10 || o.Views != 10 || o.Transactions != 10 {
		t.Errorf("older than the log: %+v, want ten of each", o)
	}
}

// deleteRecords removes everything from topics, as retention does.
func deleteRecords(t *testing.T, brokers string, topics ...string) {
	t.Helper()
	client, err := kafka.Connect(t.Context(), kafka.Config{Brokers: []string{brokers}, Patience: bank.Patience})
	if err != nil {
		t.Fatal(err)
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }() // and the client
	spans, err := kafka.Bounds(t.Context(), client, topics...)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range spans {
		if s.End > s.Start {
			if err := admin.DeleteRecords(s.Topic, map[int32]int64{s.ID: s.End}); err != nil {
				t.Fatal(err)
			}
		}
	}
}
