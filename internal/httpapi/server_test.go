package httpapi_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vigie-dev/vigie/internal/httpapi"
	testcerts "github.com/vigie-dev/vigie/internal/testenv/certs"
)

// running is a server whose handler waits for a signal to go on.
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
	select {
	case <-s.entered:
	case a := <-s.answered:
		t.Fatalf("the request ended before its handler began: %v", a.err)
	}
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

func TestServeReturnsTheErrorOfAFailedListener(t *testing.T) {
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

func TestListenAll(t *testing.T) {
	taken, err := httpapi.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for name, tt := range map[string]struct {
		addresses string
		want      int
	}{
		"one":                {"127.0.0.1:0", 1},
		"two":                {"127.0.0.1:0,127.0.0.1:0", 2},
		"with blanks":        {"127.0.0.1:0, 127.0.0.2:0", 2},
		"the second in use":  {"127.0.0.1:0," + taken.Addr().String(), 0},
		"an empty one":       {"127.0.0.1:0,,127.0.0.1:0", 0},
		"one not ours":       {"192.0.2.1:0,127.0.0.1:0", 0},
		"nothing but commas": {",", 0},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := httpapi.ListenAll(t.Context(), tt.addresses)
			if len(all) != tt.want {
				t.Errorf("%d listeners, want %d", len(all), tt.want)
			}
			if got := errors.Is(err, httpapi.ErrAddress); got != (tt.want == 0) {
				t.Errorf("listen on %s: %v", tt.addresses, err)
			}
			if err := all.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What was bound before the address that could not be had is free again.
func TestListenAllLeavesNothingBehind(t *testing.T) {
	first, err := httpapi.Listen(t.Context(), "127.0.0.3:0") // nobody else takes its ports
	if err != nil {
		t.Fatal(err)
	}
	address := first.Addr().String()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if all, err := httpapi.ListenAll(t.Context(), address+",192.0.2.1:0"); err == nil {
		t.Fatal(errors.Join(errors.New("listens on an address that is not ours"), all.Close()))
	}
	again, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("the first address is still bound: %v", err)
	}
	_ = again.Close()
}

// onTwo serves "here" on two addresses.
func onTwo(t *testing.T, ctx context.Context) (httpapi.Listeners, *httpapi.Server, chan error) {
	t.Helper()
	all, err := httpapi.ListenAll(ctx, "127.0.0.1:0,127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := httpapi.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }), quiet(), httpapi.ServerConfig{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, all...) }()
	return all, server, served
}

func TestServeAnswersOnEveryAddress(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	all, server, served := onTwo(t, ctx)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, l := range all {
		r, err := client.Get("http://" + l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if err := errors.Join(err, r.Body.Close()); err != nil || string(body) != "here" {
			t.Errorf("%s answers %q, %v", l.Addr(), body, err)
		}
	}
	if err := server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("served with %v after a shutdown", err)
	}
}

// A server that lost one of its addresses ends, so that it is noticed.
func TestServeEndsWithItsFirstListener(t *testing.T) {
	all, _, served := onTwo(t, t.Context())
	if err := all[1].Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("served with %v, want net.ErrClosed", err)
	}
	if c, err := net.Dial("tcp", all[0].Addr().String()); err == nil {
		_ = c.Close()
		t.Error("the other address is still served")
	}
}

// secured serves a router over TLS with an authority's certificate.
func secured(t *testing.T, authority *testcerts.Authority, pair testcerts.Pair, cfg httpapi.ServerConfig) (*testServer, *httpapi.Certificate) {
	t.Helper()
	certificate, err := httpapi.OpenCertificate(pair.CertFile, pair.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Certificate = certificate
	h := open(t, own(httpapi.Config{}, nobody(t)), cfg)
	h.url = strings.Replace(h.url, "http:", "https:", 1)
	pem, err := os.ReadFile(authority.File)
	if err != nil {
		t.Fatal(err)
	}
	known := x509.NewCertPool()
	known.AppendCertsFromPEM(pem)
	h.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: known}, DisableKeepAlives: true, ForceAttemptHTTP2: true}
	return h, certificate
}

// shown is the name on the certificate that a new connection is shown.
func (h *testServer) shown(t *testing.T) string {
	t.Helper()
	answer, err := h.client.Get(h.url + "/health")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Strict-Transport-Security") == "" || answer.ProtoMajor != 1 {
		t.Errorf("%s %s %v", answer.Proto, answer.Status, answer.Header)
	}
	return answer.TLS.PeerCertificates[0].Subject.CommonName
}

func TestTLS(t *testing.T) {
	authority := testcerts.New(t, "authority")
	h, _ := secured(t, authority, authority.Sign(t, "clerk"), httpapi.ServerConfig{})
	if got := h.shown(t); got != "clerk" {
		t.Errorf("the certificate is of %q", got)
	}
	t.Run("who says nothing is cut off", func(t *testing.T) {
		short, _ := secured(t, authority, authority.Sign(t, "hasty"), httpapi.ServerConfig{HeaderTimeout: time.Second / 10})
		short.connect(t).ended(t)
	})
	t.Run("strangers do not trust it", func(t *testing.T) {
		stranger := &http.Client{Transport: &http.Transport{}, Timeout: patience}
		if answer, err := stranger.Get(h.url + "/health"); err == nil {
			_ = answer.Body.Close()
			t.Error("anybody trusts it")
		}
	})
	t.Run("old versions are refused", func(t *testing.T) {
		c, err := tls.Dial("tcp", strings.TrimPrefix(h.url, "https://"), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		if err == nil {
			_ = c.Close()
			t.Error("TLS 1.1 is spoken")
		}
	})
	t.Run("plain HTTP is refused", func(t *testing.T) {
		answer, err := h.client.Get(strings.Replace(h.url, "https:", "http:", 1) + "/health")
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusBadRequest {
			t.Errorf("plain HTTP: %s", answer.Status)
		}
	})
}

// New connections are shown the new certificate; one that does not fit its key
// changes nothing.
func TestTheCertificateFollowsItsFiles(t *testing.T) {
	authority := testcerts.New(t, "authority")
	pair, next := authority.Sign(t, "clerk"), authority.Sign(t, "clerk-2")
	h, certificate := secured(t, authority, pair, httpapi.ServerConfig{})
	log := make(tail, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- certificate.Run(ctx, time.Millisecond, slog.New(slog.NewTextHandler(log, nil))) }()
	write(t, pair.CertFile, next.Cert)
	log.wait(t, "level=ERROR") // the key is still the old one
	if got := h.shown(t); got != "clerk" {
		t.Errorf("with half a change the certificate is of %q", got)
	}
	write(t, pair.KeyFile, next.Key)
	log.wait(t, "in use")
	if got := h.shown(t); got != "clerk-2" {
		t.Errorf("after the change the certificate is of %q", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCertificatesThatCannotBeUsed(t *testing.T) {
	authority := testcerts.New(t, "authority")
	a, b := authority.Sign(t, "a"), authority.Sign(t, "b")
	for name, files := range map[string][2]string{
		"another's key": {a.CertFile, b.KeyFile}, "no certificate": {a.KeyFile, a.KeyFile}, "no key": {a.CertFile, a.CertFile},
		"a missing file": {a.CertFile, a.KeyFile + ".missing"},
	} {
		if _, err := httpapi.OpenCertificate(files[0], files[1]); !errors.Is(err, httpapi.ErrCertificate) || strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Connections beyond the bound wait until another ends.
func TestConnectionsAreBounded(t *testing.T) { synctest.Test(t, testConnectionsAreBounded) }

func testConnectionsAreBounded(t *testing.T) {
	h := openInside(t, own(httpapi.Config{}, nobody(t)), 2, httpapi.ServerConfig{})
	first, second := h.connect(t), h.connect(t)
	first.healthy(t)
	second.healthy(t)
	third := h.connect(t)
	answered := make(chan struct{})
	go func() { defer close(answered); third.healthy(t) }()
	second.healthy(t)
	synctest.Wait() // the third would be answered, if it were served
	select {
	case <-answered:
		t.Error("a third connection is served beside two others")
	default:
	}
	_ = first.Close()
	<-answered
}
