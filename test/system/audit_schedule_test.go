//go:build !race || whole

package system_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/audit"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

// auditPage is what sentinelle's page says of the audit, by series.
func auditPage(t *testing.T, url string) map[string]float64 {
	t.Helper()
	_, all := bank.Scrape(t, url)
	out := map[string]float64{}
	for series, value := range all {
		if len(series) > 6 && series[:6] == "audit_" {
			out[series] = value
		}
	}
	return out
}

// figuresOf are the series that a report comes to.
func figuresOf(t *testing.T, r audit.Report) map[string]float64 {
	t.Helper()
	const service = `service="sentinelle"}`
	euros, err := strconv.ParseFloat(r.DifferenceAmount.String(), 64)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{
		"audit_orders{" + service: float64(r.Created.Count), "audit_unaccounted_orders{" + service: float64(r.Unaccounted.Count),
		"audit_difference_euros{" + service: euros,
	}
	for _, kind := range audit.Kinds() {
		out[fmt.Sprintf(`audit_differences{kind=%q,%s`, kind, service)] = float64(r.Kinds[kind])
	}
	for _, s := range r.Services {
		out[fmt.Sprintf(`audit_looked_at{part=%q,%s`, s.Name, service)] = map[bool]float64{true: 1}[s.LookedAt]
	}
	return out
}

// agrees waits until sentinelle shows what an audit says.
func agrees(t *testing.T, url string, report audit.Report) {
	t.Helper()
	want := figuresOf(t, report)
	bank.Eventually(t, func() error {
		got := auditPage(t, url)
		for series := range got {
			if _, ok := want[series]; !ok {
				delete(got, series) // runs and times
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("sentinelle (-vigie audit +sentinelle):\n%s", diff)
		}
		return nil
	})
}

// sentinelleAlone starts sentinelle by itself on a bank's cluster, and returns where
// it answers.
func sentinelleAlone(t *testing.T, brokers string, args ...string) string {
	t.Helper()
	p := bank.LaunchService(t, "sentinelle", append([]string{
		"--kafka-brokers", brokers, "--sentinelle-peers", "suivi=http://127.0.0.1:1", "--prometheus-url", "", "--log-level", "error",
	}, args...)...)
	found := p.Stdout.Wait(t, `sentinelle answers at (\S+)`, p.Done)
	if found == nil {
		t.Fatalf("sentinelle ended with %d: %s", p.Status, p.Stderr)
	}
	return found[1]
}

// The running system audits itself, and says to the order and the cent what `vigie
// audit` says; another sentinelle beside it finds a decision that somebody forges.
func TestTheScheduledAuditAgrees(t *testing.T) {
	bank.Parallel(t)
	data := t.TempDir()
	s := bank.Start(t, data, "--log-level", "error", "--sentinelle-audit-interval", "50ms")
	for i := range 9 {
		s.MustOrder(t, fmt.Sprintf("%d.05", i+1))
	}
	forged := s.MustOrder(t, "12.34")
	s.Settled(t, 10)
	report, status := auditJSON(t, s.Brokers, "--data", data)
	if status != 0 {
		t.Fatalf("vigie audit: %+v", report)
	}
	agrees(t, s.URLs["sentinelle"], report)
	if page := auditPage(t, s.URLs["sentinelle"]); page[`audit_runs_total{outcome="failed",service="sentinelle"}`] != 0 {
		t.Errorf("%v", page)
	}
	forge(t, s, forged, 1234)
	bank.Eventually(t, func() error { // the others set it aside
		report, _ = auditJSON(t, s.Brokers, "--data", data, "--patience", "0s")
		if len(report.OtherDeadLetters) < 2 {
			return fmt.Errorf("%+v", report)
		}
		return nil
	})
	if report.Kinds[audit.DecidedTwice] != 1 || report.DifferenceAmount != audit.CentsOf(1234) {
		t.Errorf("vigie audit: %+v", report)
	}
	agrees(t, sentinelleAlone(t, s.Brokers, "--data", data), report)
}

// Whatever is damaged of the services' storage, a schedule says what `vigie audit`
// says.
func TestTheScheduledAuditOfSpoiltStorage(t *testing.T) {
	bank.Parallel(t)
	s := startStopped(t)
	folders := map[string]string{"nothing": s.data}
	for name, damage := range map[string][2]string{
		"ledger row deleted":      {"paiement", `DELETE FROM ledger WHERE order_id = 'order-4'`},
		"ledger row added":        {"paiement", `INSERT INTO ledger VALUES ('order-77', 'e', 'r', 'AUTHORIZED', 100, 1000000 * unixepoch())`},
		"ledger amounts changed":  {"paiement", `UPDATE ledger SET amount = amount + 7 WHERE order_id IN ('order-4', 'order-10')`},
		"position beyond the log": {"paiement", `UPDATE positions SET next_offset = 1000 WHERE topic = 'orders.created' AND partition = 1`},
		"views deleted":           {"suivi", `DELETE FROM orders WHERE order_id IN ('order-4', 'order-5')`},
		"counted twice":           {"analyseur", `UPDATE totals SET count = count + 1, amount = amount + 405 WHERE status = 'AUTHORIZED'`},
		"not counted":             {"analyseur", `DELETE FROM transactions WHERE order_id = 'order-4'`},
	} {
		folders[name] = s.copied(t, damage[0], damage[1])
	}
	for name, folder := range folders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := sentinelleAlone(t, s.brokers, "--data", folder)
			report, status := auditJSON(t, s.brokers, "--data", folder, "--patience", "0s")
			if (status == 0) != (name == "nothing") {
				t.Errorf("vigie audit = %d: %+v", status, report)
			}
			agrees(t, url, report)
		})
	}
}

// Without the services' storage sentinelle audits by what the topics say, and shows
// that this is all it has looked at. Where it was told where the storage is, it does
// not do with less, and shows no zero that proves nothing.
func TestTheScheduledAuditWithoutStorage(t *testing.T) {
	bank.Parallel(t)
	s := startStopped(t)
	alone := sentinelleAlone(t, s.brokers, "--data", t.TempDir())
	told := sentinelleAlone(t, s.brokers, "--database-url", "sqlite:"+t.TempDir())
	const service = `service="sentinelle"}`
	bank.Eventually(t, func() error {
		got := auditPage(t, alone)
		if got["audit_orders{"+service] != 10 || got[`audit_runs_total{outcome="accounted_for",`+service] != 1 {
			return fmt.Errorf("the log alone: %v", got)
		}
		for _, part := range []string{"paiement", "suivi", "analyseur"} {
			if at, ok := got[fmt.Sprintf(`audit_looked_at{part=%q,%s`, part, service)]; !ok || at != 0 {
				t.Errorf("%s was looked at: %v", part, got)
			}
		}
		got = auditPage(t, told)
		if got[`audit_runs_total{outcome="failed",`+service] == 0 {
			return fmt.Errorf("storage that is not there: %v", got)
		}
		for _, series := range []string{"audit_orders{" + service, "audit_unaccounted_orders{" + service, "audit_last_success_timestamp_seconds{" + service} {
			if value, ok := got[series]; ok {
				t.Errorf("storage that is not there: %s %v", series, value)
			}
		}
		return nil
	})
}

// Of a cluster without a bank nothing is audited, and nothing is said of orders.
func TestNoAuditWithoutABank(t *testing.T) {
	bank.Parallel(t)
	broker := bank.Launch(t, "broker", "--data", t.TempDir(), "--broker-addr", "127.0.0.1:0")
	address := broker.Stdout.Wait(t, `listens on (\S+)`, broker.Done)[1]
	p := bank.LaunchService(t, "sentinelle", "--kafka-brokers", address, "--log-level", "error")
	url := p.Stdout.Wait(t, `sentinelle answers at (\S+)`, p.Done)[1]
	if got := auditPage(t, url); len(got) != 0 {
		t.Errorf("%v", got)
	}
}
