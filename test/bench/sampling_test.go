//go:build unix

package bench_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

const (
	samplingRate   = 1000 // orders a second
	samplingOrders = 6000 // in each round, on each side
	samplingRounds = 3
)

// BenchmarkSampling measures what traces cost at a thousand orders a second:
// the whole system's processor time per order, client and broker included, with
// nothing exported and with 1, 10 and 100 % of the traces sent by OTLP to a
// collector that reads and forgets them. The sides take turns; a ratio is the
// median of the rounds', to the side that exports nothing. Beside it stand the
// bytes that an order sends away and the spans that were dropped.
func BenchmarkSampling(b *testing.B) {
	sink := &sink{}
	server := httptest.NewServer(sink)
	defer server.Close()
	b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	b.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	shares := []string{"none", "0.01", "0.1", "1"}
	costs, ratios, sent := map[string][]float64{}, map[string][]float64{}, map[string]float64{}
	for b.Loop() {
		for range samplingRounds {
			for _, share := range shares {
				before := sink.bytes.Load()
				cost := sampled(b, share)
				costs[share] = append(costs[share], cost)
				ratios[share] = append(ratios[share], cost/costs["none"][len(costs["none"])-1])
				sent[share] = float64(sink.bytes.Load()-before) / samplingOrders
			}
		}
	}
	for _, share := range shares {
		b.ReportMetric(median(costs[share]), "µs/order-"+share)
		b.ReportMetric(median(ratios[share]), "ratio-"+share)
		b.ReportMetric(sent[share], "B/order-"+share)
	}
	b.ReportMetric(0, "ns/op")
}

// sampled runs one side for a round and returns its processor time per order,
// in microseconds.
func sampled(b *testing.B, share string) float64 {
	b.Helper()
	exporter, sampler := "otlp", "parentbased_traceidratio"
	if share == "none" {
		exporter, sampler, share = "", "", ""
	}
	b.Setenv("OTEL_TRACES_EXPORTER", exporter)
	b.Setenv("OTEL_TRACES_SAMPLER", sampler)
	b.Setenv("OTEL_TRACES_SAMPLER_ARG", share)
	s := bank.Start(b, b.TempDir(), "--log-level", "error")
	before := processorTime(b)
	pace(b, s)
	s.Settled(b, samplingOrders)
	s.Program.Stop() // sends what is left
	return (processorTime(b) - before) * 1e6 / samplingOrders
}

// pace posts a round of orders, evenly spaced.
func pace(b *testing.B, s *bank.Bank) {
	b.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: benchConnections}}
	defer client.CloseIdleConnections()
	const tick = 10 * time.Millisecond
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var group sync.WaitGroup
	for range samplingOrders / samplingRate * int(time.Second/tick) {
		<-ticker.C
		for range samplingRate / int(time.Second/tick) {
			group.Go(func() {
				if err := postOrder(client, s.Commande, []byte(`{"userId":"u","amount":1,"items":["a"]}`)); err != nil {
					b.Error(err)
				}
			})
		}
	}
	group.Wait()
}

// sink is a collector that reads and forgets.
type sink struct{ bytes atomic.Int64 }

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, _ := io.Copy(io.Discard, r.Body)
	s.bytes.Add(n)
	w.WriteHeader(http.StatusOK)
}
