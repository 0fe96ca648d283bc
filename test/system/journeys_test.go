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
	args := []string{"--paiement-error-rate=0.6", "--paiement-latency=0s", "--sentinelle-objective=2s"}
	before := 0
	for _, orders := range []int{20, 30} {
		s := bank.Start(t, data, args...)
		for range orders - before {
			s.MustOrder(t, "10.50")
		}
		before = orders
		bank.Eventually(t, func() error { return journeysAgree(t, s, data, orders) })
		if status := s.Program.Stop(); status != 0 {
			t.Fatalf("vigie up ended with %d", status)
		}
	}
}

// journeysAgree compares sentinelle's metrics with an audit.
func journeysAgree(t *testing.T, s *bank.Bank, data string, orders int) error {
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
	letters := 0.0
	for name, value := range all {
		if strings.HasPrefix(name, journeys.LettersWaiting+"{") {
			letters += value
		}
	}
	waiting, known := all[journeys.OrdersWaiting+`{service="sentinelle"}`]
	switch {
	case !report.AccountedFor || report.Created.Count != int64(orders):
		return fmt.Errorf("the audit has %d orders of %d", report.Created.Count, orders)
	case report.DeadLettered.Count != int64(letters) || report.DeadLettered.Count == 0:
		return fmt.Errorf("%v letters wait, the audit has %d on %s", letters, report.DeadLettered.Count, banking.TopicOrdersDLQ)
	case !known || waiting != 0:
		return fmt.Errorf("%v orders wait (known: %v), the audit has none", waiting, known)
	}
	return nil
}
