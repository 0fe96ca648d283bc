//go:build !race || whole

package system_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

// A flipped bit in the broker's log stops the whole system until somebody
// decides; giving up what it hit lets everything else go on, and audit says what
// is missing.
func TestADamagedLogIsRefusedUntilItIsGivenUp(t *testing.T) {
	bank.Parallel(t)
	data := t.TempDir()
	s := bank.Start(t, data)
	s.Decided(t, s.MustOrder(t, "10").OrderID)
	if status := s.Program.Stop(); status != 0 {
		t.Fatalf("exit status %d", status)
	}
	logs, err := filepath.Glob(filepath.Join(data, "broker", "log", "partitions", "orders.created-*", "0.dat"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("logs with an order: %v, %v", logs, err)
	}
	content, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(logs[0], content, 0o600); err != nil {
		t.Fatal(err)
	}

	refused := bank.Launch(t, "up", "--data", data, "--broker-addr", "127.0.0.1:0")
	<-refused.Done
	for _, want := range []string{logs[0], "byte 0", "offset 0", "restore a copy", "vigie broker --salvage"} {
		if text := refused.Stderr.String(); refused.Status != 1 || !strings.Contains(text, want) || strings.Count(text, "\n") != 1 {
			t.Errorf("exit status %d without %q, or in more than a line:\n%s", refused.Status, want, text)
		}
	}
	if after, err := os.ReadFile(logs[0]); err != nil || string(after) != string(content) {
		t.Errorf("the refused log was changed, %v", err)
	}

	salvage := bank.Launch(t, "broker", "--salvage", "--data", data)
	<-salvage.Done
	if text := salvage.Stdout.String(); salvage.Status != 0 || !strings.Contains(text, "places given up: 1") {
		t.Errorf("salvage: exit status %d:\n%s%s", salvage.Status, text, salvage.Stderr)
	}
	s = bank.Start(t, data)
	if order := s.MustOrder(t, "20"); order.OrderID != "order-2" {
		t.Errorf("the next order is %s, want order-2", order.OrderID)
	} else {
		s.Decided(t, order.OrderID)
	}
	audit := bank.Launch(t, "audit", "--data", data, "--kafka-brokers", s.Brokers)
	<-audit.Done
	if text := audit.Stdout.String() + audit.Stderr.String(); audit.Status != 1 || !strings.Contains(text, "order-1") {
		t.Errorf("audit: exit status %d:\n%s", audit.Status, text)
	}
}

// A decision that was lost in the middle of its log, as a salvage leaves it, is
// not taken again by a ledger that was lost as well.
func TestADecisionThatWasGivenUpIsNotTakenAgain(t *testing.T) {
	bank.Parallel(t)
	data := t.TempDir()
	s := bank.Start(t, data, "--log-level", "error", "--paiement-reject-rate", "0")
	const n = 9
	for i := range n {
		s.MustOrder(t, fmt.Sprint(i+1))
	}
	s.Settled(t, n)
	s.Program.Stop()
	logs, err := filepath.Glob(filepath.Join(data, "broker", "log", "partitions", "payments.authorized-*", "0.dat"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("logs with a decision: %v, %v", logs, err)
	}
	for _, log := range logs {
		content, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		content[100] ^= 1 // in the first batch
		if err := os.WriteFile(log, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	salvage := bank.Launch(t, "broker", "--salvage", "--json", "--data", data)
	if <-salvage.Done; salvage.Status != 0 || salvage.Stdout.String() != `{"placesGivenUp":3}`+"\n" {
		t.Fatalf("salvage: exit status %d:\n%s", salvage.Status, salvage.Stderr)
	}
	if err := os.RemoveAll(filepath.Join(data, "paiement")); err != nil {
		t.Fatal(err)
	}
	mustReset(t, data)
	s = bank.Start(t, data, "--log-level", "warn", "--paiement-reject-rate", "1") // the authoriser has another mind
	all := consumed(t, s, n)
	old, same := all[`kafka_dead_letters_total{reason="too_old",service="paiement",topic="orders.created"}`], all[`kafka_duplicates_total{service="paiement",topic="orders.created"}`]
	if old < float64(len(logs)) || old+same != n {
		t.Errorf("of %d orders %v are too old and %v known", n, old, same)
	}
	if got := recordsOn(t, s.Brokers, banking.TopicPaymentsRejected); got != 0 {
		t.Errorf("%d orders were decided again", got)
	}
	if text := s.Program.Stderr.String() + s.Program.Stdout.String(); !strings.Contains(text, "lacks offsets 0 to") {
		t.Errorf("it does not say what is missing:\n%s", text)
	}
}
