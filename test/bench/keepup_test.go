package bench_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

// BenchmarkKeepUp has paiement, without authoriser latency, decide 100,000
// orders while suivi and analyseur read what it publishes, all on the same
// cores. behind is how much longer than paiement the slower view took, as a
// ratio: near 0, their lag does not grow.
func BenchmarkKeepUp(b *testing.B) {
	address := benchBroker(b)
	made := bank.Launch(b, "topics", "--kafka-brokers", address)
	<-made.Done
	fillTopics(b, address, benchRecords, false)
	for b.Loop() {
		start := time.Now()
		urls, quick := map[string]string{}, map[string][]string{"paiement": {"--paiement-latency", "0"}}
		for _, service := range []string{"suivi", "analyseur", "paiement"} {
			p := bank.Launch(b, append([]string{service, "--data", b.TempDir(), "--kafka-brokers", address, "--" + service + "-addr", "127.0.0.1:0",
				"--log-level", "warn"}, quick[service]...)...)
			urls[service] = p.Stdout.Wait(b, `answers at (\S+)`, p.Done)[1]
			b.Cleanup(func() { p.Stop() })
		}
		bank.Eventually(b, func() error {
			_, all := bank.Scrape(b, urls["paiement"])
			if n := all[`kafka_messages_consumed_total{service="paiement",topic="orders.created"}`]; n < benchRecords {
				return fmt.Errorf("paiement has decided %v", n)
			}
			return nil
		})
		paiement := time.Since(start)
		bank.Eventually(b, func() error { return viewsHaveAll(b, urls["suivi"], urls["analyseur"]) })
		b.ReportMetric(benchRecords/paiement.Seconds(), "orders/s")
		b.ReportMetric((time.Since(start)-paiement).Seconds()/paiement.Seconds(), "behind")
	}
	b.ReportMetric(0, "ns/op")
}

// viewsHaveAll says what the views still miss.
func viewsHaveAll(b *testing.B, suivi, analyseur string) error {
	b.Helper()
	var orders struct{ TotalCount int }
	bank.GetJSON(b, suivi+"/orders?limit=1", &orders)
	var sums struct{ TotalTransactions int }
	bank.GetJSON(b, analyseur+"/statistics", &sums)
	if orders.TotalCount < benchRecords || sums.TotalTransactions < benchRecords {
		return fmt.Errorf("suivi has %d orders, analyseur %d payments", orders.TotalCount, sums.TotalTransactions)
	}
	_, all := bank.Scrape(b, suivi)
	return bank.LagIsZero(all)
}
