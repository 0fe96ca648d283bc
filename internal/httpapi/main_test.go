package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
)

func TestMain(m *testing.M) {
	// net/http keeps a connection that it refused for half a second more, and
	// waits for it in no shutdown.
	leaks.Main(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// patience ends what hangs. No test waits for it.
const patience = 5 * time.Minute

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// router is a service's router with one route of its own, GET|POST /things/{id}.
func router(ready *httpapi.Readiness, log *slog.Logger, own http.HandlerFunc) *httpapi.Router {
	rt := httpapi.NewRouter(httpapi.Config{
		Service: "clerk", Version: "1.2.3", Ready: ready, Log: log,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the page\n") }),
	})
	rt.Handle("GET /things/{id}", own)
	rt.Handle("POST /things/{id}", own)
	return rt
}

// own is a router whose one route, GET|POST /things, is the handler.
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

func echoID(w http.ResponseWriter, r *http.Request) {
	httpapi.WriteJSON(w, http.StatusOK, map[string]string{"id": r.PathValue("id")})
}

// nobody is a handler that nothing gets to.
func nobody(t *testing.T) http.HandlerFunc {
	return func(http.ResponseWriter, *http.Request) { t.Error("the handler ran") }
}

func ask(h http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// problem checks that an answer is a problem document of that type.
func problem(t *testing.T, w *httptest.ResponseRecorder, want httpapi.ProblemType) map[string]any {
	t.Helper()
	facts := want.Facts()
	if w.Code != facts.Status {
		t.Errorf("status %d, want %d: %s", w.Code, facts.Status, w.Body)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/problem+json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
	} {
		if got := w.Result().Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	var document map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil {
		t.Fatalf("%q: %v", w.Body, err)
	}
	if document["type"] != want.URI() || document["status"] != float64(facts.Status) || document["title"] != facts.Title {
		t.Errorf("document %v, want %+v", document, facts)
	}
	return document
}

// testServer is a router behind a listener.
type testServer struct {
	url    string
	dial   func() (net.Conn, error)
	client *http.Client
}

// open serves a router as services do, on an address of its own. What a
// machine's speed could run into has an hour, unless the test sets it.
func open(t *testing.T, handler http.Handler, cfg httpapi.ServerConfig) *testServer {
	t.Helper()
	all, err := httpapi.ListenAll(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, timeout := range []*time.Duration{&cfg.HeaderTimeout, &cfg.ReadTimeout, &cfg.WriteTimeout, &cfg.IdleTimeout} {
		if *timeout == 0 {
			*timeout = time.Hour
		}
	}
	address := all[0].Addr().String()
	h := &testServer{url: "http://" + address, dial: func() (net.Conn, error) { return net.DialTimeout("tcp", address, patience) }}
	h.serve(t, handler, cfg, all.Limit(1000, func(err error) { t.Error(err) }))
	return h
}

// openInside serves a router inside the test, for one that runs in a bubble of
// synctest: time-outs pass when all wait for them and never before, and no
// kernel keeps what a client does not read.
func openInside(t *testing.T, handler http.Handler, connections int, cfg httpapi.ServerConfig) *testServer {
	t.Helper()
	inside := &listener{accepted: make(chan net.Conn), closed: make(chan struct{})}
	h := &testServer{url: "http://clerk", dial: inside.dial}
	h.serve(t, handler, cfg, httpapi.Listeners{inside}.Limit(connections, func(error) {}))
	return h
}

func (h *testServer) serve(t *testing.T, handler http.Handler, cfg httpapi.ServerConfig, all httpapi.Listeners) *httpapi.Server {
	t.Helper()
	server := httpapi.NewServer(handler, quiet(), cfg)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, all...) }()
	h.client = &http.Client{Timeout: patience, Transport: &http.Transport{
		MaxIdleConnsPerHost: 2000,
		DialContext:         func(context.Context, string, string) (net.Conn, error) { return h.dial() },
	}}
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
	return server
}

// listener is a listener whose connections are pipes.
type listener struct {
	accepted chan net.Conn
	closed   chan struct{}
	close    sync.Once
}

func (l *listener) dial() (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() { // as the kernel does, whether or not anybody accepts
		select {
		case l.accepted <- theirs:
		case <-l.closed:
			_ = theirs.Close()
		}
	}()
	return ours, nil
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { l.close.Do(func() { close(l.closed) }); return nil }
func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: "inside"} }

// connection is one of the test's own, for clients that misbehave.
type connection struct {
	net.Conn
	answers *bufio.Reader
}

func (h *testServer) connect(t *testing.T) *connection {
	t.Helper()
	c, err := h.dial()
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

// is says whether the answer is a problem of that type.
func (r reply) is(want httpapi.ProblemType) bool {
	var p httpapi.Problem
	return json.Unmarshal([]byte(r.body), &p) == nil && p.Type == want && r.status == want.Facts().Status
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

// status sends a request and returns the response's status, 0 for none.
func (h *testServer) status(t *testing.T, method, path string, body io.Reader) int {
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
