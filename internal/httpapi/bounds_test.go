package httpapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

// A thousand clients against a hundred slots: each is answered, those that do
// not get in at once and with when to come again, and never are more than a
// hundred at work. Health and metrics answer all the while.
func TestAThousandClientsAndAHundredSlots(t *testing.T) {
	synctest.Test(t, testAThousandClientsAndAHundredSlots)
}

func testAThousandClientsAndAHundredSlots(t *testing.T) {
	const clients, slots = 1000, 100
	var inside, most atomic.Int64
	goOn := make(chan struct{})
	h := openInside(t, own(httpapi.Config{MaxConcurrent: slots}, func(w http.ResponseWriter, r *http.Request) {
		now := inside.Add(1)
		defer inside.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		<-goOn
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "a thing" {
			t.Errorf("the handler reads %q, %v", body, err)
		}
		httpapi.WriteJSON(w, http.StatusCreated, map[string]int{"n": 1})
	}), 2*clients, httpapi.ServerConfig{})

	var created, refused atomic.Int64
	for range clients {
		go func() {
			answer, err := h.client.Post(h.url+"/things", "text/plain", strings.NewReader("a thing"))
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = answer.Body.Close() }()
			if answer.StatusCode == http.StatusCreated {
				created.Add(1)
				return
			}
			var p httpapi.Problem
			if err := json.NewDecoder(answer.Body).Decode(&p); err != nil || p.Type != httpapi.Busy || p.Status != answer.StatusCode ||
				answer.Header.Get("Retry-After") != "1" || answer.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("refused with %v %+v, %v", answer.Header, p, err)
			}
			refused.Add(1)
		}()
	}
	synctest.Wait()
	if inside.Load() != slots || created.Load() != 0 || refused.Load() != clients-slots { // none of them waits for a slot
		t.Errorf("%d are at work, %d created, %d refused", inside.Load(), created.Load(), refused.Load())
	}
	for _, path := range []string{"/", "/health", "/health/ready", "/metrics"} {
		if got := h.status(t, http.MethodGet, path, nil); got != http.StatusOK {
			t.Errorf("GET %s of a full service: %d", path, got)
		}
	}
	close(goOn)
	synctest.Wait()
	if most.Load() != slots || created.Load() != slots || refused.Load() != clients-slots {
		t.Errorf("%d at work at most, %d created, %d refused", most.Load(), created.Load(), refused.Load())
	}
	if got := h.status(t, http.MethodPost, "/things", strings.NewReader("a thing")); got != http.StatusCreated {
		t.Errorf("afterwards: %d", got)
	}
}

// The slot of a handler that panicked is free again.
func TestAPanicLeavesItsSlot(t *testing.T) {
	rt := own(httpapi.Config{MaxConcurrent: 1}, func(_ http.ResponseWriter, r *http.Request) { panic(r.URL.RawQuery) })
	for range 3 {
		problem(t, ask(rt, http.MethodGet, "/things"), httpapi.Fault)
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
	problem(t, w, httpapi.Busy)
	if w.Header().Get("Retry-After") != "1" || len(entered) != 0 {
		t.Errorf("one scrape more: %v", w.Header())
	}
	if w := ask(rt, http.MethodGet, "/health"); w.Code != http.StatusOK {
		t.Errorf("health: %d", w.Code)
	}
	close(goOn)
	scraping.Wait()
}

// Clients that never come to the end of their headers are hung up on, and
// others are answered meanwhile.
func TestSlowHeadersAreCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openInside(t, own(httpapi.Config{}, nobody(t)), 100, httpapi.ServerConfig{HeaderTimeout: time.Second, ReadTimeout: time.Hour})
		started := time.Now()
		var slow []*connection
		for range 20 {
			c := h.connect(t)
			c.send(t, "POST /things HTTP/1.1\r\nHost: clerk\r\nX-Slow: ")
			slow = append(slow, c)
		}
		h.connect(t).healthy(t)
		for _, c := range slow {
			c.ended(t)
		}
		if took := time.Since(started); took < time.Second || took > 2*time.Second {
			t.Errorf("they were hung up on after %v", took)
		}
	})
}

// Connections on which nothing comes are cut off by default.
func TestConnectionsAreCutOff(t *testing.T) {
	for name, tt := range map[string]struct {
		request string
		after   time.Duration
	}{
		"without a request": {"GET /health HTTP/1.1\r\nHost: clerk\r\n\r\n", 60 * time.Second},
		"half a request":    {"GET /health HTTP/1.1\r\n", 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := openInside(t, own(httpapi.Config{}, nobody(t)), 1, httpapi.ServerConfig{})
				started, c := time.Now(), h.connect(t)
				c.send(t, tt.request)
				c.ended(t)
				if took := time.Since(started); took != tt.after {
					t.Errorf("cut off after %v, want %v", took, tt.after)
				}
			})
		})
	}
}

// So are those whose client does not read its answer.
func TestAnswersThatNobodyReadsAreCutOff(t *testing.T) {
	page := strings.Repeat("x", 1<<20)
	synctest.Test(t, func(t *testing.T) {
		h := openInside(t, own(httpapi.Config{}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, page) }), 2, httpapi.ServerConfig{})
		for wait, whole := range map[time.Duration]bool{29 * time.Second: true, 31 * time.Second: false} {
			c := h.connect(t)
			c.send(t, "GET /things HTTP/1.1\r\nHost: clerk\r\n\r\n")
			<-time.After(wait)
			if n, _ := io.Copy(io.Discard, c.answers); (n > int64(len(page))) != whole {
				t.Errorf("who reads after %v gets %d bytes", wait, n)
			}
		}
	})
}

// A client that sends its body slowly takes no slot: the one slot there is serves
// others until the slow one gets 408 and its connection is closed.
func TestASlowBodyHoldsNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		served := 0
		h := openInside(t, own(httpapi.Config{MaxConcurrent: 1, BodyTimeout: 400 * time.Millisecond}, func(w http.ResponseWriter, _ *http.Request) {
			served++
			httpapi.WriteJSON(w, http.StatusCreated, served)
		}), 100, httpapi.ServerConfig{ReadTimeout: time.Hour})
		var slow []*connection
		for range 20 {
			c := h.connect(t)
			c.send(t, "POST /things HTTP/1.1\r\nHost: clerk\r\nContent-Length: 100\r\n\r\nhalf of it")
			slow = append(slow, c)
		}
		synctest.Wait() // all are being read: one that comes to a full service is told so once its body is in
		if got := h.status(t, http.MethodPost, "/things", strings.NewReader("all of it")); got != http.StatusCreated {
			t.Errorf("beside slow bodies: %d", got)
		}
		for _, c := range slow {
			if r := c.answer(t); !r.is(httpapi.SlowBody) || !r.closed || !strings.Contains(r.body, "400ms") {
				t.Errorf("a slow body: %+v", r)
			}
			c.ended(t)
		}
		if served != 1 {
			t.Errorf("the handler ran %d times", served)
		}
	})
}

// A body in time does not bring the handler into a hurry: the body's deadline
// is not the handler's.
func TestTheBodysDeadlineEndsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openInside(t, own(httpapi.Config{BodyTimeout: time.Second}, func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
				t.Error("the request was ended while its handler worked")
			case <-time.After(2 * time.Second):
			}
			httpapi.WriteJSON(w, http.StatusCreated, 1)
		}), 100, httpapi.ServerConfig{})
		if got := h.status(t, http.MethodPost, "/things", strings.NewReader("a thing")); got != http.StatusCreated {
			t.Errorf("%d", got)
		}
	})
}

// A client that does not read its response takes no slot either.
func TestASlowReaderHoldsNoSlot(t *testing.T) {
	page := strings.Repeat("x", 1<<20)
	synctest.Test(t, func(t *testing.T) {
		h := openInside(t, own(httpapi.Config{MaxConcurrent: 1}, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				_, _ = io.WriteString(w, page)
				return
			}
			httpapi.WriteJSON(w, http.StatusCreated, 1)
		}), 100, httpapi.ServerConfig{})
		slow := h.connect(t)
		slow.send(t, "GET /things HTTP/1.1\r\nHost: clerk\r\n\r\n")
		if _, err := slow.answers.Peek(1); err != nil { // its handler has returned
			t.Fatal(err)
		}
		for range 10 {
			if got := h.status(t, http.MethodPost, "/things", strings.NewReader("a thing")); got != http.StatusCreated {
				t.Errorf("beside a slow reader: %d", got)
			}
		}
	})
}

// What waits for slow readers is bounded: beyond, a large answer is dropped for
// a small one that says so. Small answers go on.
func TestAnswersThatWaitAreBounded(t *testing.T) {
	const size, fit = 8 << 20, 4 // of 32 MiB
	page := make([]byte, size)
	synctest.Test(t, func(t *testing.T) {
		h := openInside(t, own(httpapi.Config{}, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				_, _ = w.Write(page)
				return
			}
			httpapi.WriteJSON(w, http.StatusCreated, 1)
		}), 100, httpapi.ServerConfig{})
		large := func() *connection {
			c := h.connect(t)
			c.send(t, "GET /things HTTP/1.1\r\nHost: clerk\r\n\r\n")
			return c
		}
		var slow []*connection
		for range fit {
			c := large()
			if _, err := c.answers.Peek(1); err != nil {
				t.Fatal(err)
			}
			slow = append(slow, c)
		}
		if r := large().answer(t); !r.is(httpapi.AnswerDropped) {
			t.Errorf("one more large answer: %+v", r)
		}
		if got := h.status(t, http.MethodPost, "/things", strings.NewReader("a thing")); got != http.StatusCreated {
			t.Errorf("a small answer: %d", got)
		}
		h.connect(t).healthy(t)
		for _, c := range slow {
			if r := c.answer(t); r.status != http.StatusOK || len(r.body) != size {
				t.Errorf("a slow reader's answer: %d, %d bytes", r.status, len(r.body))
			}
		}
		synctest.Wait() // their shares are given back
		if r := large().answer(t); r.status != http.StatusOK {
			t.Errorf("afterwards: %d", r.status)
		}
	})
}

func TestBodiesAndHeadersAreBounded(t *testing.T) {
	const bound = 100
	for name, tt := range map[string]struct {
		request string
		status  int
		closed  bool
	}{
		"at the bound":            {fmt.Sprintf("Content-Length: %d\r\n\r\n%s", bound, strings.Repeat("x", bound)), 201, false},
		"one more":                {fmt.Sprintf("Content-Length: %d\r\n\r\n%s", bound+1, strings.Repeat("x", bound+1)), 413, true},
		"announced, never sent":   {"Content-Length: 1000000000000\r\n\r\n", 413, true},
		"in chunks, at the bound": {fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", bound, strings.Repeat("x", bound)), 201, true},
		"in chunks, without end":  {fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", bound+1, strings.Repeat("x", bound+1)), 413, true},
		"broken chunks":           {"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, true},
		"large headers":           {"X-Large: " + strings.Repeat("x", 21<<10) + "\r\n\r\n", 431, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, own(httpapi.Config{MaxBody: bound, BodyTimeout: time.Hour}, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil || len(body) != bound {
					t.Errorf("the handler reads %d bytes, %v", len(body), err)
				}
				httpapi.WriteJSON(w, http.StatusCreated, 1)
			}), httpapi.ServerConfig{})
			c := h.connect(t)
			var sending sync.WaitGroup
			sending.Go(func() { _, _ = io.WriteString(c, "POST /things HTTP/1.1\r\nHost: clerk\r\n"+tt.request) })
			r := c.answer(t)
			sending.Wait()
			if r.status != tt.status || r.closed != tt.closed {
				t.Errorf("%d, closed %v; want %d, %v", r.status, r.closed, tt.status, tt.closed)
			}
			if tt.status == http.StatusRequestEntityTooLarge && !r.is(httpapi.LargeBody) || tt.status == http.StatusBadRequest && !r.is(httpapi.InvalidRequest) {
				t.Errorf("the problem is %s", r.body)
			}
		})
	}
}

// TestNoRequestSeesAnothers has many requests share the memory of bodies and answers, some of which panic.
func TestNoRequestSeesAnothers(t *testing.T) {
	rt := own(httpapi.Config{Log: quiet(), MaxConcurrent: 1000}, func(w http.ResponseWriter, r *http.Request) {
		body, err := httpapi.Body(r)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write(body)
		if strings.HasSuffix(string(body), "3") {
			panic("on purpose")
		}
	})
	var clients sync.WaitGroup
	for client := range 8 {
		clients.Go(func() {
			for n := range 100 {
				text := strings.Repeat("x", n*client) + fmt.Sprintf("%d of %d", n, client)
				w := httptest.NewRecorder()
				rt.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/things", strings.NewReader(text)))
				switch panicked := strings.HasSuffix(text, "3"); {
				case panicked && (w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), text)):
					t.Errorf("a panic is answered with %d %q", w.Code, w.Body)
				case !panicked && (w.Code != http.StatusOK || w.Body.String() != text):
					t.Errorf("%d %q, want %q", w.Code, w.Body, text)
				}
			}
		})
	}
	clients.Wait()
}
