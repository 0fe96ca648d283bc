//go:build unix

package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/testenv/system"
)

// What bounds one order, and the decision on many, on a loaded machine.
const (
	orderTimeout   = 2 * time.Minute
	decidedTimeout = 5 * time.Minute
)

// Marker is the user id of every order: it may be found in no signal.
const Marker = "user-marker-b1946ac9"

// Placed is an acknowledged order.
type Placed struct {
	OrderID string
	// TraceID is what the answer's header traceresponse says (W3C Trace
	// Context Level 2).
	TraceID string
	// Took is the time from the request to the answer.
	Took time.Duration
}

// Place places n orders, as many at a time as there are clients. Every one
// must be acknowledged.
func (s *Tracing) Place(t testing.TB, n, clients int) []Placed {
	t.Helper()
	client := &http.Client{Timeout: orderTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer client.CloseIdleConnections()
	placed, errs, numbers := make([]Placed, n), make([]error, n), make(chan int)
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for i := range numbers {
				placed[i], errs[i] = place(t.Context(), client, s.System.URL(system.Commande)+"/orders", i)
			}
		})
	}
	for i := range n {
		numbers <- i
	}
	close(numbers)
	group.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return placed
}

func place(ctx context.Context, client *http.Client, url string, i int) (p Placed, err error) {
	body := fmt.Sprintf(`{"userId":%q,"amount":%d.25,"items":["item1","item2"]}`, Marker, 1+i*37%2000)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return Placed{}, fmt.Errorf("place order: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	began := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return Placed{}, fmt.Errorf("place order: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(&p); err != nil || response.StatusCode != http.StatusCreated {
		return Placed{}, fmt.Errorf("place order: %s, %+v, %w", response.Status, p, err)
	}
	p.Took = time.Since(began)
	// version-trace-span-flags
	parts := strings.Split(response.Header.Get("Traceresponse"), "-")
	if len(parts) != 4 {
		return Placed{}, fmt.Errorf("order %s: traceresponse %q", p.OrderID, parts)
	}
	p.TraceID = parts[1]
	return p, nil
}

// AwaitDecided waits until analyseur has counted n payments.
func (s *Tracing) AwaitDecided(t testing.TB, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), decidedTimeout)
	defer cancel()
	err := s.System.Service(system.Analyseur).Process().Await(ctx, func(ctx context.Context) error {
		var statistics struct{ TotalTransactions int }
		err := Get(ctx, s.System.URL(system.Analyseur)+"/statistics", &statistics)
		if err == nil && statistics.TotalTransactions != n {
			err = fmt.Errorf("%d payments are decided, want %d", statistics.TotalTransactions, n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// interval is the time between two rounds of the load: 20 orders a second.
const interval = 50 * time.Millisecond

// startLoad places orders and reads as clients do, until the test ends. Answers
// are not judged: the metrics show it.
func startLoad(t testing.TB, services map[string]string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	client := &http.Client{Timeout: orderTimeout, Transport: &http.Transport{}}
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
	send(ctx, client, http.MethodPost, services[system.Commande], "/orders", order)
	if i%10 == 0 {
		send(ctx, client, http.MethodGet, services[system.Suivi], fmt.Sprintf("/orders/order-%d/status", 1+i/2), "")
		send(ctx, client, http.MethodGet, services[system.Analyseur], "/statistics", "")
		send(ctx, client, http.MethodGet, services[system.Paiement], "/health", "")
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
