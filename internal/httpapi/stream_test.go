package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

// streaming is a server with one stream, which sends what arrives on events.
type streaming struct {
	url    string
	events chan httpapi.Event
	ended  chan struct{}
	server *httpapi.Server
	done   chan error
	stop   context.CancelFunc
}

func startStreaming(t *testing.T, most int) *streaming {
	t.Helper()
	s := &streaming{events: make(chan httpapi.Event), ended: make(chan struct{}, 10), done: make(chan error, 1)}
	rt := httpapi.NewRouter(httpapi.Config{Service: "clerk", Metrics: http.NotFoundHandler(), Ready: &httpapi.Readiness{}})
	rt.HandleStream("GET /events", most, func(ctx context.Context, send func(httpapi.Event) error) error {
		defer func() { s.ended <- struct{}{} }()
		if err := send(httpapi.Event{}); err != nil {
			return err
		}
		for {
			select {
			case e := <-s.events:
				if err := send(e); err != nil {
					return err
				}
			case <-ctx.Done():
				return nil
			}
		}
	})
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + l.Addr().String()
	s.server = httpapi.NewServer(rt, slog.New(slog.DiscardHandler), httpapi.ServerConfig{})
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() { s.done <- s.server.Serve(ctx, l) }()
	t.Cleanup(func() { s.shutDown(t) })
	return s
}

func (s *streaming) shutDown(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	s.stop()
	if err := <-s.done; err != nil {
		t.Error(err)
	}
	s.done <- nil // for who shuts down again
}

// open opens a stream; its status is not 200 where there are too many.
func (s *streaming) open(t *testing.T, ctx context.Context) (status int, header http.Header, body *bufio.Reader) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer.StatusCode, answer.Header, bufio.NewReader(answer.Body)
}

func event(t *testing.T, r *bufio.Reader) (text string) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\n" {
			return text
		}
		text += line
	}
}

// Events arrive as they are sent, and a stream ends with its client.
func TestAStream(t *testing.T) {
	s := startStreaming(t, 1)
	ctx, leave := context.WithCancel(t.Context())
	status, header, body := s.open(t, ctx)
	if status != http.StatusOK || header.Get("Content-Type") != "text/event-stream" || header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", status, header)
	}
	if got := event(t, body); got != ":\n" {
		t.Errorf("a sign of life is %q", got)
	}
	s.events <- httpapi.Event{Name: "part", Data: "a\nb"}
	if got := event(t, body); got != "event: part\ndata: a\ndata: b\n" {
		t.Errorf("an event is %q", got)
	}
	if status, header, _ := s.open(t, t.Context()); status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("one too many: %d", status)
	}
	leave()
	<-s.ended
	// Its place is free a moment later.
	for {
		if status, _, _ := s.open(t, t.Context()); status == http.StatusOK {
			break
		}
	}
}

// A server that stops does not wait for those who listen.
func TestAStreamEndsWithTheServer(t *testing.T) {
	s := startStreaming(t, 8)
	_, _, body := s.open(t, t.Context())
	event(t, body)
	s.shutDown(t)
	<-s.ended
	if _, err := io.ReadAll(body); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

// A browser asks people for the token, and sends it as a password.
func TestATokenAsAPassword(t *testing.T) {
	known, _ := tokens(t, tokenA)
	for _, browsed := range []bool{true, false} {
		rt := own(httpapi.Config{Tokens: known, Browsed: browsed}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
		for password, want := range map[string]bool{tokenA: browsed, tokenB: false, "": false} {
			r := httptest.NewRequest(http.MethodGet, "/things", nil)
			r.Header.Set("Accept", "text/html")
			r.SetBasicAuth("anybody", password)
			w := httptest.NewRecorder()
			rt.ServeHTTP(w, r)
			if got := w.Code == http.StatusNoContent; got != want {
				t.Errorf("browsed %v, password %q: %d", browsed, password, w.Code)
			}
			if challenge := w.Header().Get("WWW-Authenticate"); !want && (challenge == `Basic realm="clerk", charset="UTF-8"`) != browsed {
				t.Errorf("browsed %v: challenge %s", browsed, challenge)
			}
		}
	}
}
