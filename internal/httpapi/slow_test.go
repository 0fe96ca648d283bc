package httpapi_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

// soon is a time-out that a test waits for.
const soon = 400 * time.Millisecond

// Clients that never come to the end of their headers are hung up on, and
// others are answered meanwhile.
func TestSlowHeadersAreCutOff(t *testing.T) {
	h := open(t, own(httpapi.Config{}, nobody(t)), 100, httpapi.ServerConfig{HeaderTimeout: soon, ReadTimeout: time.Hour})
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
}

// A client that draws its body out holds no slot: the one slot there is serves
// others until the slow one is told 408 and hung up on.
func TestASlowBodyHoldsNoSlot(t *testing.T) {
	served := 0
	h := open(t, own(httpapi.Config{MaxConcurrent: 1, BodyTimeout: soon}, func(w http.ResponseWriter, _ *http.Request) {
		served++
		httpapi.WriteJSON(w, http.StatusCreated, served)
	}), 100, httpapi.ServerConfig{ReadTimeout: time.Hour})
	var slow []*connection
	for range 20 {
		c := h.connect(t)
		c.send(t, "POST /things HTTP/1.1\r\nHost: clerk\r\nContent-Length: 100\r\n\r\nhalf of it")
		slow = append(slow, c)
	}
	if got := h.status(t, http.MethodPost, "/things", strings.NewReader("all of it")); got != http.StatusCreated {
		t.Errorf("beside slow bodies: %d", got)
	}
	for _, c := range slow {
		if r := c.answer(t); r.status != http.StatusRequestTimeout || !r.closed || !strings.Contains(r.body, "400ms") {
			t.Errorf("a slow body: %+v", r)
		}
		c.ended(t)
	}
	if served != 1 {
		t.Errorf("the handler was asked %d times", served)
	}
}

// A body in time does not bring the handler into a hurry: the body's deadline
// is not the handler's.
func TestTheBodysDeadlineEndsWithIt(t *testing.T) {
	h := open(t, own(httpapi.Config{BodyTimeout: soon}, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
			t.Error("the request was ended while its handler worked")
		case <-time.After(2 * soon):
		}
		httpapi.WriteJSON(w, http.StatusCreated, 1)
	}), 100, httpapi.ServerConfig{})
	if got := h.status(t, http.MethodPost, "/things", strings.NewReader("a thing")); got != http.StatusCreated {
		t.Errorf("%d", got)
	}
}

// A client that does not read its answer holds no slot either.
func TestASlowReaderHoldsNoSlot(t *testing.T) {
	page := strings.Repeat("x", 8<<20) // more than the kernel keeps for it
	h := open(t, own(httpapi.Config{MaxConcurrent: 1}, func(w http.ResponseWriter, r *http.Request) {
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
}

// What waits for slow readers is bounded: beyond, a large answer is dropped for
// a small one that says so. Small answers go on.
func TestAnswersThatWaitAreBounded(t *testing.T) {
	const size, fit = 8 << 20, 4 // of 32 MiB
	page := make([]byte, size)
	h := open(t, own(httpapi.Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = w.Write(page)
			return
		}
		httpapi.WriteJSON(w, http.StatusCreated, 1)
	}), 100, httpapi.ServerConfig{})
	var slow []*connection
	for range fit {
		c := h.connect(t)
		c.send(t, "GET /things HTTP/1.1\r\nHost: clerk\r\n\r\n")
		if _, err := c.answers.Peek(1); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
	}
	if got := h.status(t, http.MethodGet, "/things", nil); got != http.StatusServiceUnavailable {
		t.Errorf("one more large answer: %d", got)
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
	if got := h.eventually(t, http.StatusOK); got != http.StatusOK {
		t.Errorf("afterwards: %d", got)
	}
}

// eventually asks for the large page until the answer is as wanted: a budget is
// given back a moment after the last byte has arrived.
func (h *house) eventually(t *testing.T, want int) (got int) {
	t.Helper()
	for over := time.Now().Add(patience); got != want && time.Now().Before(over); {
		got = h.status(t, http.MethodGet, "/things", nil)
	}
	return got
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
		"in chunks, at the bound": {fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", bound, strings.Repeat("x", bound)), 201, false},
		"in chunks, without end":  {fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", bound+1, strings.Repeat("x", bound+1)), 413, true},
		"broken chunks":           {"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, true},
		"large headers":           {"X-Large: " + strings.Repeat("x", 21<<10) + "\r\n\r\n", 431, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, own(httpapi.Config{MaxBody: bound}, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil || len(body) != bound {
					t.Errorf("the handler reads %d bytes, %v", len(body), err)
				}
				httpapi.WriteJSON(w, http.StatusCreated, 1)
			}), 100, httpapi.ServerConfig{})
			c := h.connect(t)
			var sending sync.WaitGroup
			sending.Go(func() { _, _ = io.WriteString(c, "POST /things HTTP/1.1\r\nHost: clerk\r\n"+tt.request) })
			r := c.answer(t)
			sending.Wait()
			if r.status != tt.status || r.closed != tt.closed {
				t.Errorf("%d, closed %v; want %d, %v", r.status, r.closed, tt.status, tt.closed)
			}
		})
	}
}
