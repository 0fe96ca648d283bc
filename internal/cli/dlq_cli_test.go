package cli

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/services"
)

// What list, show and purge say about letters, to people and to machines.
func TestLettersAreListedShownAndPurged(t *testing.T) {
	s := startSystem(t, t.TempDir(), "--paiement-error-rate", "1", "--log-level", "error")
	failures(t, s, 3)

	table := mustDLQ(t, s.brokers, "list")
	row := regexp.MustCompile(`(?m)^(orders\.dlq/[0-2]/\d+) +\d+s +authoriser +transient +paiement-svc +3 +(order-[123]) +orders\.created/[0-2]/\d+$`)
	rows := row.FindAllStringSubmatch(table, -1)
	if len(rows) != 3 || rows[0][2] != "order-1" || rows[2][2] != "order-3" || !strings.HasSuffix(table, "\n3 dead letters: 3 authoriser\n") {
		t.Fatalf("list:\n%s", table)
	}
	id := rows[1][1]
	l := jsonLines(t, mustDLQ(t, s.brokers, "list", "--json", "--order", "order-2"))
	if len(l) != 1 || l[0]["id"] != id || l[0]["reason"] != "authoriser" || l[0]["attempts"] != 3.0 || l[0]["resolution"] != nil ||
		l[0]["originalTopic"] != "orders.created" || l[0]["failedAt"] == "" {
		t.Errorf("list --json: %v", l)
	}

	text := mustDLQ(t, s.brokers, "show", id)
	for _, want := range []string{
		id + "\n", "order-2\n", "waits\n", "authoriser (transient, tried 3 times)\n", "\nheaders\n", "eventType ", "\ntrace\n",
		"\nvalue, JSON, ", "\n  \"orderId\": \"order-2\",\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("show does not say %q:\n%s", want, text)
		}
	}
	whole := jsonLines(t, mustDLQ(t, s.brokers, "show", id, "--json"))[0]
	if value, ok := whole["value"].(map[string]any); !ok || value["orderId"] != "order-2" || len(whole["headers"].([]any)) != 2 {
		t.Errorf("show --json: %v", whole)
	}

	status, out, errs := dlq(t, s.brokers, "purge", id) // standard input says nothing
	if status != 1 || !strings.Contains(errs, "not confirmed") || !strings.Contains(out, "1 dead letter will be marked") ||
		!strings.Contains(out, "1 order will never be decided, neither paid nor rejected: order-2") {
		t.Errorf("unconfirmed purge = %d: %s%s", status, out, errs)
	}
	if got := answered(t, "no\n", "dlq", "--kafka-brokers", s.brokers, "purge", id); !strings.Contains(got, "not confirmed") {
		t.Errorf("purge, answered no: %q", got)
	}
	if got := answered(t, "yes\n", "dlq", "--kafka-brokers", s.brokers, "purge", id); got != "" {
		t.Errorf("purge, answered yes: %s", got)
	}
	purged := jsonLines(t, mustDLQ(t, s.brokers, "purge", "--yes", "--json", "--reason", "authoriser", "--older-than", "1ns"))
	if last := purged[len(purged)-1]; len(purged) != 4 || last["purged"] != 2.0 || last["alreadyResolved"] != 1.0 || last["failed"] != 0.0 {
		t.Errorf("purge --json: %v", purged)
	}
	if got := mustDLQ(t, s.brokers, "list", "--all"); strings.Count(got, "  purged ") != 3 {
		t.Errorf("list --all:\n%s", got)
	}
	if got := mustDLQ(t, s.brokers, "list", "--order", "order-9"); got != "no dead letters match\n" {
		t.Errorf("list of nothing: %q", got)
	}
	if got := mustDLQ(t, s.brokers, "purge", "--yes", "--all-letters"); got != "purged 0, failed 0, already resolved 3\n" {
		t.Errorf("purge of what is purged: %q", got)
	}
	failed(t, s, "order-2") // a purged order stays as it is
}

// answered runs a command with an answer to its question, and returns its error.
func answered(t *testing.T, answer string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	c := newCommand(services.All(), &out, &out)
	c.Reader = strings.NewReader(answer)
	if err := c.Run(context.WithoutCancel(t.Context()), append([]string{"vigie"}, args...)); err != nil {
		return err.Error()
	}
	return ""
}

// An id that names nothing fails, and the others are replayed all the same.
func TestAPartialReplayExitsWithOne(t *testing.T) {
	s := startSystem(t, t.TempDir(), "--paiement-error-rate", "1", "--log-level", "error")
	failures(t, s, 1)
	id := jsonLines(t, mustDLQ(t, s.brokers, "list", "--json"))[0]["id"].(string)
	status, out, errs := dlq(t, s.brokers, "replay", id, "orders.dlq/0/999", "orders.dlq/0/999")
	if status != 1 || out != "replayed 1, failed 1, already resolved 0\n" ||
		!strings.Contains(errs, "orders.dlq/0/999") || !strings.Contains(errs, "vigie: 1 letter not replayed\n") {
		t.Errorf("replay = %d: %s%s", status, out, errs)
	}
	status, out, _ = dlq(t, s.brokers, "replay", "--json", "orders.dlq/0/999")
	lines := jsonLines(t, out)
	if status != 1 || len(lines) != 2 || lines[0]["outcome"] != "failed" || lines[0]["error"] == "" || lines[1]["failed"] != 1.0 {
		t.Errorf("replay --json = %d: %s", status, out)
	}
	status, out, errs = dlq(t, s.brokers, "show", "orders.dlq/0/999")
	if status != 1 || out != "" || !strings.Contains(errs, "no such dead letter") {
		t.Errorf("show = %d: %s%s", status, out, errs)
	}
}

// What is asked for wrongly is told in one line, before anything is connected.
func TestDLQRefusesToGuess(t *testing.T) {
	for args, want := range map[string]string{
		"replay":                              "--all-letters",
		"purge":                               "--all-letters",
		"purge --yes":                         "--all-letters",
		"replay --all-letters orders.dlq/0/1": "leave it out",
		"purge --all-letters --order x":       "leave it out",
		"purge --json --all-letters":          "--yes",
		"replay orders.created/0/1":           "no dead-letter topic",
		"replay 42":                           "TOPIC/PARTITION/OFFSET",
		"show":                                "one id",
		"show orders.dlq/0/1 orders.dlq/0/2":  "one id",
		"list orders.dlq/0/1":                 "vigie dlq show",
		"list --reason bad-luck":              "contradictory",
		"list --topic orders":                 "payments.dlq",
		"list --older-than soon":              "older-than",
		"list --nonsense":                     "nonsense",
		"lst":                                 "list, show, replay and purge",
	} {
		status, stdout, stderr := dlq(t, "127.0.0.1:1", strings.Fields(args)...)
		if status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, want) {
			t.Errorf("vigie dlq %s = %d: %s%s; want one line with %q", args, status, stdout, stderr, want)
		}
	}
}

func TestDLQWithoutABrokerOrTopics(t *testing.T) {
	status, _, stderr := dlq(t, "127.0.0.1:1", "--kafka-patience", "1ms", "list")
	if status != 1 || !strings.Contains(stderr, "KAFKA_BROKERS") {
		t.Errorf("without a broker = %d: %s", status, stderr)
	}
	broker := launch(t, "broker", "--data", t.TempDir(), "--broker-addr", "127.0.0.1:0")
	address := broker.stdout.wait(t, `listens on (\S+)`, broker.done)[1]
	status, _, stderr = dlq(t, address, "list")
	if status != 1 || !strings.Contains(stderr, "vigie topics") || !strings.Contains(stderr, "orders.dlq") {
		t.Errorf("without topics = %d: %s", status, stderr)
	}
}

func TestDLQCommandsExplainThemselves(t *testing.T) {
	for _, c := range dlqCommand().Commands {
		p := launch(t, "dlq", c.Name, "--help")
		<-p.done
		text := p.stdout.String()
		if p.status != 0 || !strings.Contains(text, c.Usage) || !strings.Contains(text, "   vigie dlq "+c.Name+" ") || !strings.Contains(text, "--kafka-brokers") {
			t.Errorf("vigie dlq %s --help = %d:\n%s", c.Name, p.status, text)
		}
		for _, f := range c.Flags {
			if !strings.Contains(text, "--"+f.Names()[0]) {
				t.Errorf("vigie dlq %s --help does not explain --%s", c.Name, f.Names()[0])
			}
		}
	}
}
