package bench_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

const (
	visibleRate   = 200 // orders a second
	visibleOrders = 2000
	visibleLook   = 5 * time.Millisecond
)

// BenchmarkVisible measures how long after its 201 an order is decided and
// shown by suivi: 200 orders a second, evenly paced, with the authoriser's
// documented latency of 20 ms. Each order is looked up every 5 ms, so that the
// figures are up to that too high.
func BenchmarkVisible(b *testing.B) {
	s := bank.Start(b, b.TempDir(), "--paiement-latency", "20ms")
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: visibleRate}}
	defer client.CloseIdleConnections()
	for b.Loop() {
		waits := make([]time.Duration, visibleOrders)
		ticker := time.NewTicker(time.Second / visibleRate)
		var group sync.WaitGroup
		for i := range waits {
			<-ticker.C
			group.Go(func() { waits[i] = untilDecided(b, client, s) })
		}
		group.Wait()
		ticker.Stop()
		slices.Sort(waits)
		b.ReportMetric(waits[visibleOrders/2].Seconds()*1e3, "p50-ms")
		b.ReportMetric(waits[visibleOrders*99/100].Seconds()*1e3, "p99-ms")
	}
	b.ReportMetric(0, "ns/op")
}

// untilDecided posts an order and returns how long after its 201 suivi shows
// the decision.
func untilDecided(b *testing.B, client *http.Client, s *bank.Bank) time.Duration {
	body := strings.NewReader(`{"userId":"user123","amount":100.50,"items":["item1"]}`)
	response, err := client.Post(s.Commande+"/orders", "application/json", body)
	if err != nil {
		b.Error(err)
		return 0
	}
	var order bank.Placed
	err = errors.Join(json.NewDecoder(response.Body).Decode(&order), response.Body.Close())
	if response.StatusCode != http.StatusCreated || err != nil {
		b.Errorf("POST /orders = %d, %v", response.StatusCode, err)
		return 0
	}
	start := time.Now()
	ticker := time.NewTicker(visibleLook)
	defer ticker.Stop()
	for {
		if decided(b, client, s.Suivi+"/orders/"+order.OrderID+"/status") {
			return time.Since(start)
		}
		if time.Since(start) > bank.Patience {
			b.Errorf("%s is not decided", order.OrderID)
			return bank.Patience
		}
		<-ticker.C
	}
}

// decided says whether suivi shows a decision; it may not know the order yet.
func decided(b *testing.B, client *http.Client, url string) bool {
	response, err := client.Get(url)
	if err != nil {
		b.Error(err)
		return false
	}
	defer response.Body.Close()
	var answer struct{ Status banking.OrderStatus } // a problem's status is a number, which fails
	if json.NewDecoder(response.Body).Decode(&answer) != nil {
		return false
	}
	return answer.Status.Decided()
}
