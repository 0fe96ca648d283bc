//go:build !race || whole

package system_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/journeys"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
	"github.com/vigie-dev/vigie/services/sentinelle"
)

// What sentinelle has counted is what the audit counts, to the order, through a restart.
func TestJourneysAgreeWithTheAudit(t *testing.T) {
	bank.Parallel(t)
	data := t.TempDir()
	placed, letters := 0, 0
	for _, round := range []struct {
		errorRate       string
		orders, letters int
	}{{"0", 20, 0}, {"1", 10, 10}} {
		s := bank.Start(t, data, "--paiement-error-rate="+round.errorRate, "--paiement-latency=0s", "--sentinelle-objective=2s")
		for range round.orders {
			s.MustOrder(t, "10.50")
		}
		placed, letters = placed+round.orders, letters+round.letters
		bank.Eventually(t, func() error { return journeysAgree(t, s, data, placed, letters) })
		if status := s.Program.Stop(); status != 0 {
			t.Fatalf("vigie up ended with %d", status)
		}
	}
}

// journeysAgree compares sentinelle's metrics with an audit.
func journeysAgree(t *testing.T, s *bank.Bank, data string, orders, letters int) error {
	t.Helper()
	_, all := bank.Scrape(t, s.URLs[sentinelle.Name])
	counted := 0
	for _, outcome := range journeys.Outcomes() {
		counted += int(all[fmt.Sprintf(`%s{outcome=%q,service="sentinelle"}`, journeys.JourneysTotal, outcome)])
	}
	if counted != orders {
		return fmt.Errorf("%d journeys of %d", counted, orders)
	}
	report, _ := auditJSON(t, s.Brokers, "--data", data)
	listed := 0
	for name, value := range all {
		if strings.HasPrefix(name, journeys.LettersWaiting+"{") {
			listed += int(value)
		}
	}
	waiting, known := all[journeys.OrdersWaiting+`{service="sentinelle"}`]
	switch {
	case !report.AccountedFor || report.Created.Count != int64(orders):
		return fmt.Errorf("the audit has %d orders of %d", report.Created.Count, orders)
	case listed != letters || report.DeadLettered.Count != int64(letters):
		return fmt.Errorf("%d letters wait, the audit has %d on %s, want %d", listed, report.DeadLettered.Count, banking.TopicOrdersDLQ, letters)
	case !known || waiting != 0:
		return fmt.Errorf("%v orders wait (known: %v), the audit has none", waiting, known)
	}
	return nil
}
