package bench_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

const (
	benchConnections = 64
	benchRounds      = 7
	benchOrders      = 6000 // in each round, on each side
)

// BenchmarkPostOrders compares commande with the least that could take an
// order: bareOrders, which keeps the contract without validation, telemetry or
// storage (ratio), and a handler that only forwards the body (ratio-echo). All
// publish to the same embedded broker with synced writes and acks=all, are
// driven by the same 64 connections, and take turns; a ratio is the median of
// the rounds'.
func BenchmarkPostOrders(b *testing.B) {
	broker := bank.Launch(b, "broker", "--data", b.TempDir(), "--broker-addr", "127.0.0.1:0")
	address := broker.Stdout.Wait(b, `listens on (\S+)`, broker.Done)[1]
	p := bank.Launch(b, "commande", "--data", b.TempDir(), "--kafka-brokers", address, "--commande-addr", "127.0.0.1:0", "--log-format", "json")
	commande := p.Stdout.Wait(b, `answers at (\S+)`, p.Done)[1]
	bare, echo := newBareOrders(b, address), newEcho(b, address)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: benchConnections}}
	defer client.CloseIdleConnections()

	var ratios, echoes, rates []float64
	for b.Loop() {
		for range benchRounds {
			ours := drive(b, client, commande)
			rates = append(rates, ours)
			ratios = append(ratios, ours/drive(b, client, bare))
			echoes = append(echoes, ours/drive(b, client, echo))
		}
	}
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(median(echoes), "ratio-echo")
	b.ReportMetric(median(rates), "orders/s")
	b.ReportMetric(0, "ns/op") // one iteration is a whole series of rounds
}

// drive posts a round of orders and returns how many were taken in a second.
func drive(b *testing.B, client *http.Client, url string) float64 {
	b.Helper()
	body := []byte(`{"userId":"user123","amount":100.50,"items":["item1","item2"]}`)
	var left atomic.Int64
	left.Store(benchOrders)
	var group sync.WaitGroup
	start := time.Now()
	for range benchConnections {
		group.Go(func() {
			for left.Add(-1) >= 0 {
				if err := postOrder(client, url, body); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	return benchOrders / time.Since(start).Seconds()
}

// postOrder posts an order that has to be taken.
func postOrder(client *http.Client, url string, body []byte) error {
	response, err := client.Post(url+"/orders", "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("POST /orders = %d", response.StatusCode)
	}
	return nil
}

// BenchmarkUp measures what the whole system costs at rest: from start to
// ready, and the process's resident memory ten seconds later.
func BenchmarkUp(b *testing.B) {
	for b.Loop() {
		start := time.Now()
		s := bank.Start(b, b.TempDir())
		ready := time.Since(start)
		runtime.GC()
		b.ReportMetric(ready.Seconds(), "s-to-ready")
		b.ReportMetric(residentMegabytes(b), "MB-resident")
		s.Program.Stop()
	}
	b.ReportMetric(0, "ns/op")
}

// residentMegabytes is the process's resident set, which /proc knows.
func residentMegabytes(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip("the resident set is read from /proc")
	}
	var size, resident float64
	if _, err := fmt.Sscan(string(status), &size, &resident); err != nil {
		b.Fatal(err)
	}
	return resident * float64(os.Getpagesize()) / 1e6
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
