//go:build unix

package bench_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
	testsystem "github.com/vigie-dev/vigie/internal/testenv/system"
)

// BenchmarkVigieAudit measures the command: the processor time, the peak of its memory, and
// the time by the clock of `vigie audit` over so many decided orders as AUDIT_ORDERS says, on the
// embedded broker and SQLite. The services have read them before, and have ended.
func BenchmarkVigieAudit(b *testing.B) {
	orders := 20_000
	if n, err := strconv.Atoi(os.Getenv("AUDIT_ORDERS")); err == nil {
		orders = n
	}
	binary, err := testsystem.Build(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	address, data := benchBroker(b), b.TempDir()
	<-bank.Launch(b, "topics", "--kafka-brokers", address).Done
	fillDecided(b, address, orders)
	haveRead(b, address, data, orders)
	for b.Loop() {
		begun := time.Now()
		audit := exec.CommandContext(b.Context(), binary, "audit", "--json", "--kafka-brokers", address, "--data", data)
		audit.Stderr = os.Stderr
		out, err := audit.Output()
		var report struct {
			AccountedFor bool
			Authorized   struct{ Count int }
		}
		if err != nil || json.Unmarshal(out, &report) != nil || !report.AccountedFor || report.Authorized.Count != orders {
			b.Fatalf("%v: %.2000s", err, out)
		}
		used := audit.ProcessState
		b.ReportMetric((used.UserTime() + used.SystemTime()).Seconds(), "cpu-s")
		b.ReportMetric(time.Since(begun).Seconds(), "s")
		b.ReportMetric(float64(used.SysUsage().(*syscall.Rusage).Maxrss)*maxrssUnit/1e6, "MB-peak")
	}
	b.ReportMetric(0, "ns/op")
}

// maxrssUnit is what Linux counts a process's largest resident set in.
const maxrssUnit = 1024

// fillDecided publishes orders and their results, as commande and paiement do.
func fillDecided(b *testing.B, address string, orders int) {
	b.Helper()
	p, err := kafka.NewPublisher(b.Context(), kafka.Config{Brokers: []string{address}})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	began := time.Now().UTC().Add(-time.Hour).Truncate(time.Microsecond)
	var batch []*sarama.ProducerMessage
	for i := range orders {
		at := began.Add(time.Duration(i) * time.Hour / time.Duration(orders))
		order := banking.OrderCreated{
			EventID: banking.NewEventID(), OrderID: banking.OrderID(int64(i) + 1), UserID: fmt.Sprint("user", i%1000), Amount: banking.Money(i%100_000 + 1),
			Items: []string{"item1", "item2"}, Status: banking.StatusCreated, CreatedAt: at,
		}
		result := banking.PaymentAuthorized{
			EventID: banking.ResultEventID(order.EventID), OrderID: order.OrderID, UserID: order.UserID, Amount: order.Amount,
			Status: banking.StatusAuthorized, AuthorizationCode: fmt.Sprint("AUTH-", i), ProcessedAt: at,
		}
		created, err := delivery.Encode(order, "")
		if err != nil {
			b.Fatal(err)
		}
		decided, err := delivery.Encode(result, order.EventID)
		if err != nil {
			b.Fatal(err)
		}
		if batch = append(batch, kafka.Outgoing(created), kafka.Outgoing(decided)); len(batch) >= 10_000 || i == orders-1 {
			if err := p.PublishAll(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
			batch = nil
		}
	}
}

// haveRead has the services read everything into their storage.
func haveRead(b *testing.B, address, data string, orders int) {
	b.Helper()
	for _, service := range []string{"paiement", "suivi", "analyseur"} {
		p := bank.Launch(b, service, "--data", data, "--kafka-brokers", address, "--"+service+"-addr", "127.0.0.1:0", "--log-level", "warn")
		url := p.Stdout.Wait(b, `answers at (\S+)`, p.Done)[1]
		topic := banking.TopicOrdersCreated
		if service == "analyseur" {
			topic = banking.TopicPaymentsAuthorized
		}
		series := fmt.Sprintf(`kafka_messages_consumed_total{service=%q,topic=%q}`, service, topic)
		for read := 0.0; read < float64(orders); {
			if err := lifecycle.Sleep(b.Context(), time.Second); err != nil {
				b.Fatal(err)
			}
			_, all := bank.Scrape(b, url)
			read = all[series]
		}
		if service == "suivi" {
			bank.Eventually(b, func() error { _, all := bank.Scrape(b, url); return bank.LagIsZero(all) })
		}
		p.Stop()
	}
}
