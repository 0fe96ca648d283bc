package httpapi_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

// running is a server whose handler waits to be told to go on.
type running struct {
	*httpapi.Server
	address         string
	entered, goOn   chan struct{}
	served          chan error
	answered        chan answer
	client          *http.Client
	endServeContext context.CancelFunc
}

type answer struct {
	body string
	err  error
}

func serve(t *testing.T) *running {
	t.Helper()
	l, err := httpapi.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &running{
		address: l.Addr().String(), entered: make(chan struct{}), goOn: make(chan struct{}),
		served: make(chan error, 1), answered: make(chan answer, 1), client: &http.Client{Transport: &http.Transport{}},
	}
	t.Cleanup(s.client.CloseIdleConnections)
	s.Server = httpapi.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(s.entered)
		<-s.goOn
		_, _ = io.WriteString(w, "done")
	}), quiet(), httpapi.ServerConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	s.endServeContext = cancel
	go func() { s.served <- s.Serve(ctx, l) }()
	go func() {
		r, err := s.client.Get("http://" + s.address)
		if err != nil {
			s.answered <- answer{err: err}
			return
		}
		body, err := io.ReadAll(r.Body)
		s.answered <- answer{string(body), errors.Join(err, r.Body.Close())}
	}()
	<-s.entered
	return s
}

// refused returns once the server takes no more connections.
func (s *running) refused(t *testing.T) {
	t.Helper()
	for t.Context().Err() == nil {
		c, err := net.Dial("tcp", s.address)
		if err != nil {
			return
		}
		_ = c.Close()
	}
}

func TestShutdownWaitsForTheRequestUnderWay(t *testing.T) {
	s := serve(t)
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(t.Context()) }()
	s.refused(t)
	select {
	case err := <-stopped:
		t.Errorf("shut down (%v) with a request under way", err)
		stopped <- err
	default:
	}
	close(s.goOn)
	if a := <-s.answered; a.err != nil || a.body != "done" {
		t.Errorf("the request under way got %q, %v", a.body, a.err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("shut down: %v", err)
	}
	if r, err := s.client.Get("http://" + s.address); err == nil {
		_ = r.Body.Close()
		t.Error("a request after the shutdown was answered")
	}
	select {
	case err := <-s.served:
		t.Errorf("Serve returned %v before its context ended", err)
	default:
	}
	s.endServeContext()
	if err := <-s.served; err != nil {
		t.Errorf("Serve returned %v after a shutdown", err)
	}
}

func TestShutdownPastItsDeadlineClosesConnections(t *testing.T) {
	s := serve(t)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(over); !errors.Is(err, context.Canceled) {
		t.Errorf("shut down: %v, want context.Canceled", err)
	}
	if a := <-s.answered; a.err == nil {
		t.Errorf("the request under way got %q, want a closed connection", a.body)
	}
	close(s.goOn)
	s.endServeContext()
	if err := <-s.served; err != nil {
		t.Error(err)
	}
}

func TestServeTellsOfAFailedListener(t *testing.T) {
	l, err := httpapi.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := httpapi.NewServer(http.NotFoundHandler(), quiet(), httpapi.ServerConfig{}).Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("served with %v, want net.ErrClosed", err)
	}
}

func TestListenRefusesWhatItCannotHave(t *testing.T) {
	l, err := httpapi.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for _, address := range []string{l.Addr().String(), "192.0.2.1:0", "127.0.0.1:99999"} {
		l, err := httpapi.Listen(t.Context(), address)
		if !errors.Is(err, httpapi.ErrAddress) {
			t.Errorf("listen on %s: %v, want ErrAddress", address, err)
		}
		if err == nil {
			_ = l.Close()
		}
	}
}
