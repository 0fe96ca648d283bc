//go:build integration

package system_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
	testsystem "github.com/vigie-dev/vigie/internal/testenv/system"
)

// keyed asks for an order under a key until it has a 201, as a client does that
// got no answer, and returns every 201 that it got.
func keyed(ctx context.Context, url, key string) (bank.Placed, error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/orders", strings.NewReader(`{"userId":"u","amount":1,"items":[]}`))
		if err != nil {
			return bank.Placed{}, err
		}
		request.Header.Set("Idempotency-Key", key)
		wait := 100 * time.Millisecond
		response, err := client.Do(request)
		if err == nil {
			var p bank.Placed
			decodeErr := json.NewDecoder(response.Body).Decode(&p)
			_ = response.Body.Close()
			switch response.StatusCode {
			case http.StatusCreated:
				return p, decodeErr
			case http.StatusConflict, http.StatusServiceUnavailable:
				if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
					wait = time.Duration(seconds) * time.Second
				}
			default:
				return bank.Placed{}, fmt.Errorf("key %s: %s", key, response.Status)
			}
		}
		if err := lifecycle.Sleep(ctx, wait); err != nil {
			return bank.Placed{}, err
		}
	}
}

// Many clients share each key, over two instances that die again and again
// before an order is published and before its client is answered: a key is one
// order and one payment.
func TestAKeyIsOneOrderWhateverDies(t *testing.T) {
	const keys, clients = 24, 3
	s := startSeveral(t, "--log-level", "error", "--commande-ack-timeout", "1s")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for _, p := range s.processes.Instances(testsystem.Commande) {
		p.Kill() // they come back below, to die
	}
	var mu sync.Mutex
	given := map[string]map[bank.Placed]int{}
	var group sync.WaitGroup
	for k := range keys {
		for range clients {
			group.Go(func() {
				p, err := keyed(ctx, s.Commande, fmt.Sprintf("key-%d", k))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				key := fmt.Sprint(k)
				if given[key] == nil {
					given[key] = map[bank.Placed]int{}
				}
				given[key][p]++
			})
		}
	}
	answered := make(chan struct{})
	go func() { group.Wait(); close(answered) }()
	var dying sync.WaitGroup
	for n, step := range []string{"after-order#3", "before-order#3"} {
		dying.Go(func() { diesUntil(ctx, t, s.processes.Instances(testsystem.Commande)[n], step, answered) })
	}
	dying.Wait()
	orders := map[string]bool{}
	for key, answers := range given {
		if len(answers) != 1 {
			t.Errorf("key %s gave %v", key, answers)
		}
		for p := range answers {
			if orders[p.OrderID] {
				t.Errorf("%s was given to two keys", p.OrderID)
			}
			orders[p.OrderID] = true
		}
	}
	s.Settled(t, keys)
	if report, status := auditJSON(t, s.Brokers, "--database-url", s.database); status != 0 || report.Created.Count != keys {
		t.Errorf("audit = %d: %+v", status, report)
	}
}

// diesUntil starts an instance, which dies at a step, again and again until the
// clients are answered, and then as it should be.
func diesUntil(ctx context.Context, t *testing.T, p *testsystem.Service, step string, answered <-chan struct{}) {
	for died := 0; ; died++ {
		if err := p.Start(ctx, "VIGIE_FAULT="+step); err != nil {
			t.Error(err)
			return
		}
		select {
		case <-p.Process().Done():
			continue
		case <-answered:
		case <-ctx.Done():
			t.Error(ctx.Err())
		}
		p.Kill()
		if died == 0 {
			t.Errorf("%s never came to %s", p.Name, step)
		}
		if err := p.Start(ctx); err != nil {
			t.Error(err)
		}
		return
	}
}
