//go:build integration

package bench_test

import (
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
	testpostgres "github.com/vigie-dev/vigie/internal/testenv/postgres"
)

const (
	postgresRounds = 2       // how often each side has its turn
	postgresOrders = 250_000 // a side's
)

// BenchmarkPostgres compares paiement's storages and instances on 250,000
// orders, its authoriser without latency, each side on a new real
// Kafka: one instance on SQLite, one on PostgreSQL and two on PostgreSQL, which
// syncs every commit as SQLite does. The sides take turns; ratios are medians of
// the rounds', in orders a second from when every instance has partitions. ratio-cpu is of the processor time that an order
// costs paiement's instances, Kafka's and PostgreSQL's left out.
func BenchmarkPostgres(b *testing.B) {
	server := testpostgres.Start(b)
	var ones, twos, cpus, rates []float64
	for b.Loop() {
		for range postgresRounds {
			sqlite, _ := decideOn(b, 1, "sqlite:"+b.TempDir())
			one, oneCPU := decideOn(b, 1, server.Database(b))
			two, twoCPU := decideOn(b, 2, server.Database(b))
			rates = append(rates, one)
			ones, twos, cpus = append(ones, one/sqlite), append(twos, two/one), append(cpus, twoCPU/oneCPU)
		}
	}
	b.ReportMetric(median(ones), "ratio-postgres-to-sqlite")
	b.ReportMetric(median(twos), "ratio-two-to-one")
	b.ReportMetric(median(cpus), "ratio-cpu-two-to-one")
	b.ReportMetric(median(rates), "orders/s-one-on-postgres")
	b.ReportMetric(0, "ns/op")
}

// decideOn returns the orders that paiement's instances decide in a second, and
// their processor time for each.
func decideOn(b *testing.B, instances int, database string) (rate, cpu float64) {
	b.Helper()
	broker, err := testkafka.New(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer broker.Kill()
	made := bank.Launch(b, "topics", "--kafka-brokers", broker.Address())
	<-made.Done
	fillTopics(b, broker.Address(), postgresOrders, false)
	var urls []string
	var running []*bank.Command
	defer func() {
		for _, p := range running {
			p.Stop()
		}
	}()
	for range instances {
		p := bank.Launch(b, "paiement", "--data", b.TempDir(), "--database-url", database, "--kafka-brokers", broker.Address(),
			"--paiement-addr", "127.0.0.1:0", "--paiement-latency", "0", "--log-level", "warn")
		running = append(running, p)
		urls = append(urls, p.Stdout.Wait(b, `answers at (\S+)`, p.Done)[1])
	}
	figures := func(name string) (least, total float64) {
		for i, url := range urls {
			_, all := bank.Scrape(b, url)
			one := all[name+`{service="paiement",topic="orders.created"}`]
			if total += one; i == 0 || one < least {
				least = one
			}
		}
		return least, total
	}
	consumed := func() float64 { _, total := figures("kafka_messages_consumed_total"); return total }
	until(b, func() bool {
		least, _ := figures("kafka_consumer_assigned_partitions")
		return least > 0 && consumed() > 0
	})
	begun, start, before := consumed(), time.Now(), processorTime(b)
	until(b, func() bool { return consumed() >= postgresOrders })
	left := postgresOrders - begun
	return left / time.Since(start).Seconds(), (processorTime(b) - before) / left
}

// until looks until it is so, for a minute at most.
func until(b *testing.B, so func() bool) {
	b.Helper()
	look := time.NewTicker(benchPoll)
	defer look.Stop()
	for deadline := time.Now().Add(bank.Patience); !so(); <-look.C {
		if time.Now().After(deadline) {
			b.Fatal("it does not come to that")
		}
	}
}
