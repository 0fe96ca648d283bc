package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

// patience ends what should have happened long before.
const patience = 30 * time.Second

// house is a router behind a real listener.
type house struct {
	url, address string
	client       *http.Client
}

// open serves a router as services do.
func open(t *testing.T, handler http.Handler, connections int, cfg httpapi.ServerConfig) *house {
	t.Helper()
	all, err := httpapi.ListenAll(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := httpapi.NewServer(handler, quiet(), cfg)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, all.Limit(connections)...) }()
	h := &house{address: all[0].Addr().String(), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2000}, Timeout: patience}}
	h.url = "http://" + h.address
	t.Cleanup(func() {
		h.client.CloseIdleConnections()
		over, cancelNow := context.WithCancel(context.Background())
		cancelNow() // what is still open is a test's own
		_ = server.Shutdown(over)
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return h
}

// own is a router whose one route, POST /things, is the handler.
func own(cfg httpapi.Config, handler http.HandlerFunc) *httpapi.Router {
	cfg.Service, cfg.Version, cfg.Ready = "clerk", "1.2.3", &httpapi.Readiness{}
	if cfg.Log == nil {
		cfg.Log = quiet()
	}
	cfg.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the page\n") })
	rt := httpapi.NewRouter(cfg)
	rt.Handle("POST /things", handler)
	rt.Handle("GET /things", handler)
	return rt
}

// connection is one of the test's own, for clients that misbehave.
type connection struct {
	net.Conn
	answers *bufio.Reader
}

func (h *house) connect(t *testing.T) *connection {
	t.Helper()
	c, err := net.Dial("tcp", h.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &connection{c, bufio.NewReader(c)}
}

func (c *connection) send(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Error(err)
	}
}

// reply is an answer that has been read.
type reply struct {
	status int
	closed bool // the server ends the connection with it
	body   string
}

// answer reads one answer, whole.
func (c *connection) answer(t *testing.T) reply {
	t.Helper()
	r, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		t.Errorf("no answer: %v", err)
		return reply{}
	}
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) { // which follows on what the server would not read
		t.Error(err)
	}
	return reply{r.StatusCode, r.Close, string(body)}
}

// healthy asks for the health once more on this connection.
func (c *connection) healthy(t *testing.T) {
	t.Helper()
	c.send(t, "GET /health HTTP/1.1\r\nHost: clerk\r\n\r\n")
	if r := c.answer(t); r.status != http.StatusOK {
		t.Errorf("health: %d", r.status)
	}
}

// ended waits until the server has closed the connection.
func (c *connection) ended(t *testing.T) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c.answers); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is kept")
	}
}

// nobody is a handler that nothing gets to.
func nobody(t *testing.T) http.HandlerFunc {
	return func(http.ResponseWriter, *http.Request) { t.Error("the handler was asked") }
}

// status asks and returns the answer's status, 0 for none.
func (h *house) status(t *testing.T, method, path string, body io.Reader) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, h.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := h.client.Do(r)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode
}
