package httpapi_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/httpapi"
	testcerts "github.com/vigie-dev/vigie/internal/testenv/certs"
)

// handshake is how long a client may take for it: no client here that means it
// takes as long.
const handshake = 2 * time.Second

// secured serves a router over TLS with an authority's certificate.
func secured(t *testing.T, authority *testcerts.Authority, pair testcerts.Pair) (*house, *httpapi.Certificate) {
	t.Helper()
	certificate, err := httpapi.OpenCertificate(pair.CertFile, pair.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	h := open(t, own(httpapi.Config{}, nobody(t)), 100, httpapi.ServerConfig{Certificate: certificate, HeaderTimeout: handshake})
	h.url = "https://" + h.address
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
func (h *house) shown(t *testing.T) string {
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
	h, _ := secured(t, authority, authority.Sign(t, "clerk"))
	if got := h.shown(t); got != "clerk" {
		t.Errorf("the certificate is of %q", got)
	}
	t.Run("who says nothing is cut off", func(t *testing.T) {
		h.connect(t).ended(t)
	})
	t.Run("strangers do not trust it", func(t *testing.T) {
		stranger := &http.Client{Transport: &http.Transport{}, Timeout: patience}
		if answer, err := stranger.Get(h.url + "/health"); err == nil {
			_ = answer.Body.Close()
			t.Error("anybody trusts it")
		}
	})
	t.Run("old versions are refused", func(t *testing.T) {
		c, err := tls.Dial("tcp", h.address, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		if err == nil {
			_ = c.Close()
			t.Error("TLS 1.1 is spoken")
		}
	})
	t.Run("plain HTTP is refused", func(t *testing.T) {
		answer, err := h.client.Get("http://" + h.address + "/health")
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
	h, certificate := secured(t, authority, pair)
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
