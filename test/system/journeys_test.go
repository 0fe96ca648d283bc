//go:build !race || whole

package system_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/audit"
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
	report, _ := auditJSON(t, s.Brokers, "--data", data)
	if !report.AccountedFor || report.Created.Count != int64(orders) || report.DeadLettered.Count != int64(letters) {
		return fmt.Errorf("the audit has %d orders of %d, and %d on %s of %d", report.Created.Count, orders, report.DeadLettered.Count, banking.TopicOrdersDLQ, letters)
	}
	return journeysOf(t, s.URLs[sentinelle.Name]).agree(report)
}

// followed is what an instance of sentinelle says of the orders.
type followed struct {
	outcomes         map[journeys.Outcome]int64
	counted, letters int64
	waiting          float64
	known            bool
}

// journeysOf reads the metrics of an instance.
func journeysOf(t *testing.T, url string) followed {
	t.Helper()
	_, all := bank.Scrape(t, url)
	f := followed{outcomes: map[journeys.Outcome]int64{}}
	for _, outcome := range journeys.Outcomes() {
		f.outcomes[outcome] = int64(all[fmt.Sprintf(`%s{outcome=%q,service="sentinelle"}`, journeys.JourneysTotal, outcome)])
		f.counted += f.outcomes[outcome]
	}
	for name, value := range all {
		if strings.HasPrefix(name, journeys.LettersWaiting+"{") {
			f.letters += int64(value)
		}
	}
	f.waiting, f.known = all[journeys.OrdersWaiting+`{service="sentinelle"}`]
	return f
}

// agree compares it, at rest, with an audit that has found nothing wrong.
func (f followed) agree(report audit.Report) error {
	switch {
	case f.counted != report.Created.Count:
		return fmt.Errorf("%d journeys, the audit has %d orders: %v", f.counted, report.Created.Count, f.outcomes)
	case f.letters != report.DeadLettered.Count:
		return fmt.Errorf("%d letters wait, the audit has %d", f.letters, report.DeadLettered.Count)
	case !f.known || f.waiting != 0:
		return fmt.Errorf("%v orders wait (known: %v), the audit has none", f.waiting, f.known)
	case f.outcomes[journeys.Lost]+f.outcomes[journeys.Contradictory] > 0:
		return fmt.Errorf("the audit finds nothing wrong, and the journeys are %v", f.outcomes)
	}
	return nil
}
