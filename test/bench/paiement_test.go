package bench_test

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

// benchBroker is the broker to measure on: VIGIE_BENCH_BROKER, or the embedded
// one.
func benchBroker(b *testing.B) string {
	b.Helper()
	if address := os.Getenv("VIGIE_BENCH_BROKER"); address != "" {
		return address
	}
	broker := bank.Launch(b, "broker", "--data", b.TempDir(), "--broker-addr", "127.0.0.1:0")
	return broker.Stdout.Wait(b, `listens on (\S+)`, broker.Done)[1]
}

// BenchmarkDecide compares paiement, its authoriser without latency, with the
// least that could do its work: a sarama consumer group that takes the same
// batches, writes one SQLite row per record in one synced transaction per
// batch, and sends one record each. ratio is against one that keeps the
// contract (it decodes the order, writes the ledger's row, sends the result
// event), ratio-copy against one that only copies the record, both in records
// a second; ratio-cpu is the first in processor time, which with a real broker
// does not hold the broker's. All read the same 100,000 orders and publish to
// the same broker.
func BenchmarkDecide(b *testing.B) {
	address := benchBroker(b)
	made := bank.Launch(b, "topics", "--kafka-brokers", address)
	<-made.Done
	fillTopics(b, address, benchRecords, false)
	makeBenchTopic(b, address)
	for b.Loop() {
		bareDecideRate(b, address, copyRecord) // warms the broker up
		copying := bareDecideRate(b, address, copyRecord)
		before := processorTime(b)
		theirs := bareDecideRate(b, address, decideBarely)
		between := processorTime(b)
		ours := decideRate(b, address)
		after := processorTime(b)
		b.ReportMetric(ours, "orders/s")
		b.ReportMetric(ours/theirs, "ratio")
		b.ReportMetric(ours/copying, "ratio-copy")
		b.ReportMetric((between-before)/(after-between), "ratio-cpu")
	}
	b.ReportMetric(0, "ns/op")
}

// processorTime is what this process has used so far, in seconds.
func processorTime(b *testing.B) float64 {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
}

// benchPoll is how often the benchmark looks how far paiement has come.
const benchPoll = 20 * time.Millisecond

// decideRate is measured from the first decisions on, so that neither side's
// start and joining of its group counts.
func decideRate(b *testing.B, address string) float64 {
	b.Helper()
	p := bank.Launch(b, "paiement", "--data", b.TempDir(), "--kafka-brokers", address, "--paiement-addr", "127.0.0.1:0",
		"--paiement-latency", "0", "--log-level", "warn")
	url := p.Stdout.Wait(b, `answers at (\S+)`, p.Done)[1]
	consumed := func() float64 {
		_, all := bank.Scrape(b, url)
		return all[`kafka_messages_consumed_total{service="paiement",topic="orders.created"}`]
	}
	look := time.NewTicker(benchPoll)
	defer look.Stop()
	var begun float64
	for begun = consumed(); begun == 0; begun = consumed() {
		<-look.C
	}
	start := time.Now()
	for consumed() < benchRecords {
		<-look.C
	}
	rate := (benchRecords - begun) / time.Since(start).Seconds()
	p.Stop()
	return rate
}

// benchResults is where the other side publishes: paiement would take results
// on its own topics for decisions.
const benchResults = "bench.results"

func makeBenchTopic(b *testing.B, address string) {
	b.Helper()
	client, err := kafka.Connect(b.Context(), kafka.Config{Brokers: []string{address}, Patience: bank.Patience})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	topic := banking.Topic{Name: benchResults, Partitions: banking.Partitions, Retention: time.Hour}
	if _, err := kafka.EnsureTopics(b.Context(), client, []banking.Topic{topic}); err != nil {
		b.Fatal(err)
	}
}
