package httpapi_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

// A client that sends all of its request before it reads the answer gets the
// answer, whoever refuses the request and however much of it is left.
func TestARefusalReachesWhoStillSends(t *testing.T) {
	const size = 24 << 20 // more than the kernel's buffers hold
	length := fmt.Sprintf("Content-Length: %d\r\n", size)
	body := strings.Repeat("x", size)
	busy := make(chan struct{})
	rt := own(httpapi.Config{MaxConcurrent: 1}, func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			busy <- struct{}{}
			<-busy
		}
	})
	known, _ := tokens(t, "0123456789abcdef")
	guarded := own(httpapi.Config{Tokens: known}, nobody(t))
	for name, tt := range map[string]struct {
		router  http.Handler
		request string
		status  int
	}{
		"too large":              {rt, "POST /things HTTP/1.1\r\nHost: clerk\r\n" + length + "\r\n" + body, 413},
		"too large, in chunks":   {rt, fmt.Sprintf("POST /things HTTP/1.1\r\nHost: clerk\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", size, body), 413},
		"without waiting":        {rt, "POST /things HTTP/1.1\r\nHost: clerk\r\nExpect: 100-continue\r\n" + length + "\r\n" + body, 413},
		"the last request":       {rt, "POST /things HTTP/1.1\r\nHost: clerk\r\nConnection: close\r\n" + length + "\r\n" + body, 413},
		"no token":               {guarded, "POST /things HTTP/1.1\r\nHost: clerk\r\n" + length + "\r\n" + body, 401},
		"a page of another":      {rt, "POST /things HTTP/1.1\r\nHost: clerk\r\nSec-Fetch-Site: cross-site\r\n" + length + "\r\n" + body, 403},
		"nothing there":          {rt, "POST /nothing HTTP/1.1\r\nHost: clerk\r\n" + length + "\r\n" + body, 404},
		"another method":         {rt, "PUT /things HTTP/1.1\r\nHost: clerk\r\n" + length + "\r\n" + body, 405},
		"a read with a body":     {rt, "GET /health HTTP/1.1\r\nHost: clerk\r\n" + length + "\r\n" + body, 200},
		"not HTTP":               {rt, "POST /things HTTP/1.1\r\nHost: clerk\r\nno header\r\n" + length + "\r\n" + body, 400},
		"an unknown coding":      {rt, "POST /things HTTP/1.1\r\nHost: clerk\r\nTransfer-Encoding: zip\r\n\r\n" + body, 501},
		"headers without an end": {rt, "POST /things HTTP/1.1\r\nHost: clerk\r\nX: " + body, 431},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, tt.router, httpapi.ServerConfig{})
			c := h.connect(t)
			c.send(t, tt.request)
			if r := c.answer(t); r.status != tt.status {
				t.Errorf("%d, want %d", r.status, tt.status)
			}
			c.ended(t)
		})
	}
	t.Run("full", func(t *testing.T) {
		h := open(t, rt, httpapi.ServerConfig{})
		first := h.connect(t)
		first.send(t, "GET /things HTTP/1.1\r\nHost: clerk\r\n\r\n")
		<-busy
		c := h.connect(t)
		c.send(t, "POST /things HTTP/1.1\r\nHost: clerk\r\n"+length+"\r\n"+body)
		if r := c.answer(t); !r.is(httpapi.Busy) {
			t.Errorf("%+v", r)
		}
		busy <- struct{}{}
		first.answer(t)
	})
}

// A client that sends for ever, or never closes, keeps its connection no longer
// than the bounds allow.
func TestLingeringIsBounded(t *testing.T) {
	t.Run("in bytes", func(t *testing.T) {
		h := open(t, own(httpapi.Config{}, nobody(t)), httpapi.ServerConfig{})
		c := h.connect(t)
		c.send(t, "POST /things HTTP/1.1\r\nHost: clerk\r\nContent-Length: 1000000000000\r\n\r\n")
		chunk, sent := make([]byte, 1<<20), 0
		for sent < 1<<10 {
			if _, err := c.Write(chunk); err != nil {
				break
			}
			sent++
		}
		if sent < 32 || sent == 1<<10 {
			t.Errorf("%d MiB are taken", sent)
		}
	})
	t.Run("in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			inside := &halves{listener: listener{accepted: make(chan net.Conn), closed: make(chan struct{})}}
			h := &testServer{url: "http://clerk", dial: inside.dial}
			h.serve(t, own(httpapi.Config{}, nobody(t)), httpapi.ServerConfig{}, httpapi.Listeners{inside}.Limit(1, func(error) {}))
			c := h.connect(t)
			c.send(t, "POST /things HTTP/1.1\r\nHost: clerk\r\nContent-Length: 1000000000000\r\n\r\n")
			if r := c.answer(t); !r.is(httpapi.LargeBody) {
				t.Errorf("%+v", r)
			}
			started := time.Now()
			for range time.NewTicker(time.Second).C {
				if _, err := io.WriteString(c, "still sending"); err != nil {
					break
				}
			}
			if took := time.Since(started); took < 10*time.Second || took > 12*time.Second {
				t.Errorf("cut off after %v", took)
			}
		})
	})
	t.Run("by the stop", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			inside := &halves{listener: listener{accepted: make(chan net.Conn), closed: make(chan struct{})}}
			h := &testServer{url: "http://clerk", dial: inside.dial}
			server := h.serve(t, own(httpapi.Config{}, nobody(t)), httpapi.ServerConfig{}, httpapi.Listeners{inside}.Limit(1, func(error) {}))
			c := h.connect(t)
			c.send(t, "POST /things HTTP/1.1\r\nHost: clerk\r\nContent-Length: 1000000000000\r\n\r\n")
			if r := c.answer(t); !r.is(httpapi.LargeBody) {
				t.Errorf("%+v", r)
			}
			synctest.Wait() // it lingers
			started := time.Now()
			if err := server.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if took := time.Since(started); took > 5*time.Second {
				t.Errorf("the stop waited %v for a client that keeps its connection", took)
			}
		})
	})
}

// halves is a listener inside the test whose connections can be closed for
// writing alone, as TCP's can.
type halves struct{ listener }

func (l *halves) Accept() (net.Conn, error) {
	c, err := l.listener.Accept()
	if err != nil {
		return nil, err
	}
	return half{c}, nil
}

type half struct{ net.Conn }

func (half) CloseWrite() error { return nil }

// A slot is free again once its connection has ended, also one that lingered.
func TestALingeringConnectionHoldsItsSlot(t *testing.T) {
	all, err := httpapi.ListenAll(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &testServer{url: "http://" + all[0].Addr().String(), dial: func() (net.Conn, error) { return net.Dial("tcp", all[0].Addr().String()) }}
	h.serve(t, own(httpapi.Config{}, nobody(t)), httpapi.ServerConfig{}, all.Limit(1, func(error) {}))
	for range 3 {
		c := h.connect(t)
		c.send(t, "POST /things HTTP/1.1\r\nHost: clerk\r\nContent-Length: 1000000000000\r\n\r\n")
		if r := c.answer(t); !r.is(httpapi.LargeBody) {
			t.Errorf("%+v", r)
		}
		_ = c.Close()
	}
}

// without is a listener that is out of descriptors for a while.
type without struct {
	net.Listener
	failures int
}

func (l *without) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

// A server that has run out of descriptors goes on once it has some; meanwhile
// each failure counts, and the log has a line a minute.
func TestFailuresToAcceptAreToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		counted := 0
		failed := httpapi.Failures(slog.New(slog.NewTextHandler(&text, nil)), func() { counted++ })
		inside := &listener{accepted: make(chan net.Conn), closed: make(chan struct{})}
		h := &testServer{url: "http://clerk", dial: inside.dial}
		h.serve(t, own(httpapi.Config{}, nobody(t)), httpapi.ServerConfig{}, httpapi.Listeners{&without{inside, 100}}.Limit(1, failed))
		h.connect(t).healthy(t) // after about 90 s
		lines := strings.Count(text.String(), "\n")
		if counted != 100 || lines != 2 || strings.Count(text.String(), "level=ERROR") != 2 || !strings.Contains(text.String(), "too many open files") {
			t.Errorf("%d failures are counted; the log says %s", counted, text.String())
		}
		if !strings.Contains(text.String(), "failures=1\n") || strings.Count(text.String(), "failures=1\n") != 1 {
			t.Errorf("the second line does not say how many there were since: %s", text.String())
		}
	})
}
