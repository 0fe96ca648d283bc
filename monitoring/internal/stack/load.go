//go:build unix

package stack

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// interval is the time between two rounds of the load: 20 orders a second.
const interval = 50 * time.Millisecond

// startLoad orders and asks as clients do, until the test ends. Answers are
// not judged: the metrics tell.
func startLoad(t testing.TB, services map[string]string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}
	var group sync.WaitGroup
	group.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for i := 0; ; i++ {
			select {
			case <-ticker.C:
				round(ctx, client, services, i)
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		group.Wait()
		client.CloseIdleConnections()
	})
}

// round places an order, and at times looks at what became of others. Now and
// then a client errs.
func round(ctx context.Context, client *http.Client, services map[string]string, i int) {
	order := fmt.Sprintf(`{"userId":"user%d","amount":%d.50,"items":["item1","item2"]}`, i%50, 1+i*37%2000)
	if i%100 == 99 {
		order = `{"userId":"user1","amount":-1}`
	}
	send(ctx, client, http.MethodPost, services["commande"], "/orders", order)
	if i%10 == 0 {
		send(ctx, client, http.MethodGet, services["suivi"], fmt.Sprintf("/orders/order-%d/status", 1+i/2), "")
		send(ctx, client, http.MethodGet, services["analyseur"], "/statistics", "")
		send(ctx, client, http.MethodGet, services["paiement"], "/health", "")
	}
}

func send(ctx context.Context, client *http.Client, method, address, path, body string) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+address+path, strings.NewReader(body))
	if err != nil {
		return
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return // a service is being stopped
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
}
