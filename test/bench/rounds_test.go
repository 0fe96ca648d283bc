package bench_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
	"github.com/vigie-dev/vigie/services"
	"github.com/vigie-dev/vigie/services/commande"
)

// roundsOrders is how many orders are counted.
const roundsOrders = 2000

// BenchmarkRounds counts what the whole system does for a thousand orders that come
// from 64 clients as fast as they are taken: synced transactions of each service's
// storage and requests to Kafka, by their kind. Such counts say more about where an
// order's cost goes than a clock does, and a busy machine hardly changes them. The
// authoriser has no latency. Beside them stand the processor time of an order, that
// of clients and broker included, and how many orders a second were decided.
func BenchmarkRounds(b *testing.B) {
	tally := &requests{sent: map[string]float64{}}
	registry := slices.Clone(services.All())
	for i, s := range registry {
		registry[i].Start = func(ctx context.Context, run services.Run) (*service.Service, error) {
			run.Settings.KafkaDialer = tally
			return s.Start(ctx, run)
		}
	}
	s := bank.StartWith(b, registry, b.TempDir(), "--paiement-latency", "0", "--log-level", "warn")
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: benchConnections}}
	defer client.CloseIdleConnections()
	hurry(b, client, s.Commande) // statements are prepared, buffers have grown
	total := int64(roundsOrders)
	s.Settled(b, total)
	for b.Loop() {
		commits, before := commitsOf(b, s), tally.counts()
		used, start := processorTime(b), time.Now()
		hurry(b, client, s.Commande)
		taken := time.Since(start)
		total += roundsOrders
		s.Settled(b, total)
		b.ReportMetric(roundsOrders/time.Since(start).Seconds(), "orders/s")
		b.ReportMetric(roundsOrders/taken.Seconds(), "taken/s")
		b.ReportMetric((processorTime(b)-used)*1e6/roundsOrders, "µs/order")
		report(b, "commits-", commits, commitsOf(b, s))
		report(b, "requests-", before, tally.counts())
	}
	b.ReportMetric(0, "ns/op")
}

// hurry posts a round of orders from many clients at once.
func hurry(b *testing.B, client *http.Client, url string) {
	b.Helper()
	var left atomic.Int64
	left.Store(roundsOrders)
	var group sync.WaitGroup
	for range benchConnections {
		group.Go(func() {
			for left.Add(-1) >= 0 {
				if err := postOrder(client, url, []byte(`{"userId":"user123","amount":100.50,"items":["item1","item2"]}`)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// report reports by how much counts have grown, for a thousand orders.
func report(b *testing.B, prefix string, before, after map[string]float64) {
	b.Helper()
	for _, name := range slices.Sorted(maps.Keys(after)) {
		b.ReportMetric((after[name]-before[name])*1000/roundsOrders, prefix+name)
	}
}

// commitsOf is how many transactions each service has committed.
func commitsOf(b *testing.B, s *bank.Bank) map[string]float64 {
	b.Helper()
	commits := map[string]float64{}
	for name, url := range s.URLs {
		if name == commande.Name {
			continue // its orders are in Kafka alone
		}
		_, all := bank.Scrape(b, url)
		commits[name] = all[fmt.Sprintf(`storage_commits_total{service=%q}`, name)]
	}
	return commits
}

// requests makes connections to Kafka and counts what is sent over them, by the
// client that sends it and the kind of request.
type requests struct {
	mu   sync.Mutex
	sent map[string]float64
}

func (r *requests) counts() map[string]float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.sent)
}

func (r *requests) Dial(network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(context.Background(), network, address)
	return counted{c, r}, err
}

// counted is a connection whose requests are counted: sarama writes each at once.
type counted struct {
	net.Conn
	by *requests
}

func (c counted) Write(request []byte) (int, error) {
	// Its size, the kind, two more numbers, and who sends it.
	const kindAt, clientAt = 4, 14
	kinds := map[uint16]string{0: "produce", 1: "fetch", 2: "offsets", 3: "metadata", 8: "commit"}
	if len(request) > clientAt {
		kind, ok := kinds[binary.BigEndian.Uint16(request[kindAt:])]
		length := int(binary.BigEndian.Uint16(request[clientAt-2:]))
		if ok && len(request) >= clientAt+length {
			c.by.mu.Lock()
			c.by.sent[string(request[clientAt:clientAt+length])+"-"+kind]++
			c.by.mu.Unlock()
		}
	}
	return c.Conn.Write(request)
}
