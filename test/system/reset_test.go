package system_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
	"github.com/vigie-dev/vigie/services"
)

// After a reset the state is rebuilt from the topics, what was decided stays
// decided, and ids go on.
func TestResetRebuildsTheState(t *testing.T) {
	bank.Parallel(t)
	data := t.TempDir()
	s := bank.Start(t, data)
	const n = 30
	for i := range n {
		s.MustOrder(t, fmt.Sprint(i+1))
	}
	before := s.Settled(t, n)
	s.Program.Stop()

	unconfirmed := bank.Launch(t, "reset", "--data", data, "--broker-addr", "127.0.0.1:0") // standard input says nothing
	<-unconfirmed.Done
	if unconfirmed.Status != 1 || !strings.Contains(unconfirmed.Stderr.String(), "not confirmed") {
		t.Errorf("unconfirmed reset = %d: %s", unconfirmed.Status, unconfirmed.Stderr)
	}
	reset := bank.Launch(t, "reset", "--yes", "--data", data, "--broker-addr", "127.0.0.1:0")
	<-reset.Done
	if reset.Status != 0 {
		t.Fatalf("reset = %d: %s", reset.Status, reset.Stderr)
	}

	// Another seed would decide otherwise, if anything were decided again.
	s = bank.Start(t, data, "--paiement-seed", "99")
	after := s.Settled(t, n)
	if after.TotalAmount != before.TotalAmount || after.AuthorizedTransactions != before.AuthorizedTransactions {
		t.Errorf("after the reset %+v, before %+v", after, before)
	}
	for i := range n {
		if o := s.Decided(t, fmt.Sprintf("order-%d", i+1)); len(o.Events) != 2 {
			t.Errorf("%+v", o)
		}
	}
	if p := s.MustOrder(t, "1"); p.OrderID != fmt.Sprintf("order-%d", n+1) {
		t.Errorf("next order is %s, want order-%d", p.OrderID, n+1)
	}
	s.Settled(t, n+1)
	consume(t, s.Brokers, banking.TopicOrdersCreated, n+1)
}

// A reset beside running services changes nothing.
func TestResetRefusesWhileServicesRun(t *testing.T) {
	bank.Parallel(t)
	data := t.TempDir()
	s := bank.Start(t, data)
	s.MustOrder(t, "1")
	s.Settled(t, 1)
	p := bank.Launch(t, "reset", "--yes", "--data", data, "--kafka-brokers", s.Brokers)
	<-p.Done
	if p.Status != 1 || !strings.Contains(p.Stderr.String(), "in use") {
		t.Errorf("reset = %d: %s", p.Status, p.Stderr)
	}
	s.Settled(t, 1)
}

// A storage that was restored from an older copy is refused by the service it
// belongs to, and a reset fixes it.
func TestAnOlderCopyIsRefused(t *testing.T) {
	bank.Parallel(t)
	older, data := t.TempDir(), t.TempDir()
	s := bank.Start(t, data)
	s.MustOrder(t, "1")
	s.Settled(t, 1)
	s.Decided(t, "order-1")
	s.Program.Stop()
	if err := os.CopyFS(older, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	s = bank.Start(t, data)
	for range 10 { // every partition of every topic moves on
		s.MustOrder(t, "1")
	}
	s.Settled(t, 11)
	for i := range 11 {
		s.Decided(t, fmt.Sprintf("order-%d", i+1))
	}
	s.Program.Stop()
	for _, service := range services.All().Names() {
		t.Run(service, func(t *testing.T) {
			mixed := t.TempDir()
			if err := os.CopyFS(mixed, os.DirFS(data)); err != nil {
				t.Fatal(err)
			}
			copied, err := os.ReadFile(filepath.Join(older, service, service+".db"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(mixed, service, service+".db"), copied, 0o600); err != nil {
				t.Fatal(err)
			}
			p := bank.Launch(t, append(bank.FreePorts(services.All()), "--data", mixed, "--log-level", "error")...)
			<-p.Done
			if text := p.Stderr.String(); p.Status != 1 || !strings.Contains(text, service) || !strings.Contains(text, "vigie reset") {
				t.Errorf("start on an older copy = %d: %s", p.Status, text)
			}
			reset := bank.Launch(t, "reset", "--yes", "--data", mixed, "--broker-addr", "127.0.0.1:0")
			<-reset.Done
			if reset.Status != 0 {
				t.Fatalf("reset = %d: %s", reset.Status, reset.Stderr)
			}
			s := bank.Start(t, mixed)
			s.Settled(t, 11)
			if p := s.MustOrder(t, "1"); p.OrderID != "order-12" {
				t.Errorf("next order is %s, want order-12", p.OrderID)
			}
		})
	}
}
