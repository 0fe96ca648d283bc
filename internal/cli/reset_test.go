package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/banking"
)

// After a reset the state is rebuilt from the topics, what was decided stays
// decided, and ids go on.
func TestResetRebuildsTheState(t *testing.T) {
	data := t.TempDir()
	s := startSystem(t, data)
	const n = 30
	for i := range n {
		s.mustOrder(t, fmt.Sprint(i+1))
	}
	before := s.settled(t, n)
	s.program.stop()

	asked := launch(t, "reset", "--data", data, "--broker-addr", "127.0.0.1:0") // standard input says nothing
	<-asked.done
	if asked.status != 1 || !strings.Contains(asked.stderr.String(), "not confirmed") {
		t.Errorf("unconfirmed reset = %d: %s", asked.status, asked.stderr)
	}
	reset := launch(t, "reset", "--yes", "--data", data, "--broker-addr", "127.0.0.1:0")
	<-reset.done
	if reset.status != 0 {
		t.Fatalf("reset = %d: %s", reset.status, reset.stderr)
	}

	// Another seed would decide otherwise, if anything were decided again.
	s = startSystem(t, data, "--paiement-seed", "99")
	after := s.settled(t, n)
	if after.TotalAmount != before.TotalAmount || after.AuthorizedTransactions != before.AuthorizedTransactions {
		t.Errorf("after the reset %+v, before %+v", after, before)
	}
	for i := range n {
		if o := s.decided(t, fmt.Sprintf("order-%d", i+1)); len(o.Events) != 2 {
			t.Errorf("%+v", o)
		}
	}
	if p := s.mustOrder(t, "1"); p.OrderID != fmt.Sprintf("order-%d", n+1) {
		t.Errorf("next order is %s, want order-%d", p.OrderID, n+1)
	}
	s.settled(t, n+1)
	consume(t, s.brokers, banking.TopicOrdersCreated, n+1)
}

// A reset beside running services changes nothing.
func TestResetRefusesWhileServicesRun(t *testing.T) {
	data := t.TempDir()
	s := startSystem(t, data)
	s.mustOrder(t, "1")
	s.settled(t, 1)
	p := launch(t, "reset", "--yes", "--data", data, "--kafka-brokers", s.brokers)
	<-p.done
	if p.status != 1 || !strings.Contains(p.stderr.String(), "in use") {
		t.Errorf("reset = %d: %s", p.status, p.stderr)
	}
	s.settled(t, 1)
}

// A storage that was restored from an older copy is refused by the service it
// belongs to, and a reset mends it.
func TestAnOlderCopyIsRefused(t *testing.T) {
	for _, service := range []string{"commande", "paiement", "suivi", "analyseur"} {
		t.Run(service, func(t *testing.T) {
			data := t.TempDir()
			s := startSystem(t, data)
			s.mustOrder(t, "1")
			s.settled(t, 1)
			s.decided(t, "order-1")
			s.program.stop()
			file := filepath.Join(data, service, service+".db")
			copied, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s = startSystem(t, data)
			for range 10 { // every partition of every topic moves on
				s.mustOrder(t, "1")
			}
			s.settled(t, 11)
			for i := range 11 {
				s.decided(t, fmt.Sprintf("order-%d", i+1))
			}
			s.program.stop()
			if err := os.WriteFile(file, copied, 0o600); err != nil {
				t.Fatal(err)
			}
			p := launch(t, "up", "--data", data, "--broker-addr", "127.0.0.1:0", "--commande-addr", "127.0.0.1:0",
				"--suivi-addr", "127.0.0.1:0", "--analyseur-addr", "127.0.0.1:0", "--paiement-addr", "127.0.0.1:0")
			<-p.done
			if text := p.stderr.String(); p.status != 1 || !strings.Contains(text, service) || !strings.Contains(text, "vigie reset") {
				t.Errorf("start on an older copy = %d: %s", p.status, text)
			}
			reset := launch(t, "reset", "--yes", "--data", data, "--broker-addr", "127.0.0.1:0")
			<-reset.done
			if reset.status != 0 {
				t.Fatalf("reset = %d: %s", reset.status, reset.stderr)
			}
			s = startSystem(t, data)
			s.settled(t, 11)
			if p := s.mustOrder(t, "1"); p.OrderID != "order-12" {
				t.Errorf("next order is %s, want order-12", p.OrderID)
			}
		})
	}
}
