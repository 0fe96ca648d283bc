package httpapi_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

// A thousand clients against a hundred slots: each is answered, those that do
// not get in at once and with when to come again, and never are more than a
// hundred at work. Health and metrics answer all the while.
func TestAThousandClientsAndAHundredSlots(t *testing.T) {
	const clients, slots = 1000, 100
	var inside, most atomic.Int64
	full, goOn := make(chan struct{}), make(chan struct{})
	h := open(t, own(httpapi.Config{MaxConcurrent: slots}, func(w http.ResponseWriter, r *http.Request) {
		now := inside.Add(1)
		defer inside.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		if now == slots {
			close(full)
		}
		<-goOn
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "a thing" {
			t.Errorf("the handler reads %q, %v", body, err)
		}
		httpapi.WriteJSON(w, http.StatusCreated, map[string]int{"n": 1})
	}), 2*clients, httpapi.ServerConfig{})

	var created, refused atomic.Int64
	var asking sync.WaitGroup
	refusals := make(chan struct{}, clients)
	for range clients {
		asking.Go(func() {
			answer, err := h.client.Post(h.url+"/things", "text/plain", strings.NewReader("a thing"))
			if err != nil {
				t.Error(err)
				refusals <- struct{}{}
				return
			}
			defer func() { _ = answer.Body.Close() }()
			body, _ := io.ReadAll(answer.Body)
			switch answer.StatusCode {
			case http.StatusCreated:
				created.Add(1)
			case http.StatusServiceUnavailable:
				refused.Add(1)
				if answer.Header.Get("Retry-After") != "1" || answer.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(string(body), "nothing was done") {
					t.Errorf("refused with %v %s", answer.Header, body)
				}
				refusals <- struct{}{}
			default:
				t.Errorf("answered with %d", answer.StatusCode)
			}
		})
	}
	<-full
	for range clients - slots { // none of them waits for a slot
		<-refusals
	}
	for _, path := range []string{"/", "/health", "/health/ready", "/metrics"} {
		if got := h.status(t, http.MethodGet, path, nil); got != http.StatusOK {
			t.Errorf("GET %s of a full service: %d", path, got)
		}
	}
	close(goOn)
	asking.Wait()
	if most.Load() != slots || created.Load() != slots || refused.Load() != clients-slots {
		t.Errorf("%d at work at most, %d created, %d refused", most.Load(), created.Load(), refused.Load())
	}
	full = make(chan struct{}) // nobody fills it again
	if got := h.status(t, http.MethodPost, "/things", strings.NewReader("a thing")); got != http.StatusCreated {
		t.Errorf("afterwards: %d", got)
	}
}

// The slot of a handler that panicked is free again.
func TestAPanicLeavesItsSlot(t *testing.T) {
	rt := own(httpapi.Config{MaxConcurrent: 1}, func(_ http.ResponseWriter, r *http.Request) { panic(r.URL.RawQuery) })
	for range 3 {
		if w := ask(rt, http.MethodGet, "/things"); w.Code != http.StatusInternalServerError {
			t.Errorf("%d, want 500", w.Code)
		}
	}
}

// Scrapes are bounded apart from the rest.
func TestScrapesAreBounded(t *testing.T) {
	const most = 16
	entered, goOn := make(chan struct{}, 2*most), make(chan struct{})
	rt := httpapi.NewRouter(httpapi.Config{
		Service: "clerk", Version: "1.2.3", Ready: &httpapi.Readiness{}, Log: quiet(),
		Metrics: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			entered <- struct{}{}
			<-goOn
		}),
	})
	var scraping sync.WaitGroup
	for range most {
		scraping.Go(func() {
			if w := ask(rt, http.MethodGet, "/metrics"); w.Code != http.StatusOK {
				t.Errorf("a scrape: %d", w.Code)
			}
		})
	}
	for range most {
		<-entered
	}
	w := ask(rt, http.MethodGet, "/metrics")
	problem(t, w, http.StatusServiceUnavailable)
	if w.Header().Get("Retry-After") != "1" || len(entered) != 0 {
		t.Errorf("one scrape more: %v", w.Header())
	}
	if w := ask(rt, http.MethodGet, "/health"); w.Code != http.StatusOK {
		t.Errorf("health: %d", w.Code)
	}
	close(goOn)
	scraping.Wait()
}

// Connections beyond the bound wait until another ends.
func TestConnectionsAreBounded(t *testing.T) {
	h := open(t, own(httpapi.Config{}, nobody(t)), 2, httpapi.ServerConfig{})
	first, second := h.connect(t), h.connect(t)
	first.healthy(t)
	second.healthy(t)
	third := h.connect(t)
	answered := make(chan struct{})
	go func() { defer close(answered); third.healthy(t) }()
	for range 100 { // time enough for the third to be answered, if it were served
		second.healthy(t)
	}
	select {
	case <-answered:
		t.Error("a third connection is served beside two others")
	default:
	}
	_ = first.Close()
	<-answered
}
