//go:build !race || whole

package prometheus

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	apiv1 "github.com/prometheus/client_golang/api/prometheus/v1"
)

// output is a log that tests wait on.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func newOutput() *output { return &output{} }

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

// String is what was written.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *output) logger() *slog.Logger { return slog.New(slog.NewTextHandler(o, nil)) }

// lines are those that have all the texts.
func (o *output) lines(texts ...string) []string {
	var found []string
	for line := range strings.Lines(o.String()) {
		has := true
		for _, text := range texts {
			has = has && strings.Contains(line, text)
		}
		if has {
			found = append(found, line)
		}
	}
	return found
}

// until waits for a line with all the texts.
func (o *output) until(t *testing.T, texts ...string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); pause() {
		if len(o.lines(texts...)) > 0 {
			return
		}
	}
	t.Fatalf("no line with %q in:\n%s", texts, o)
}

// pause is between two looks at what is waited for.
func pause() { <-time.After(20 * time.Millisecond) }

func certificateFile(t *testing.T, certificate *x509.Certificate) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// atomicText is a page that changes.
type atomicText struct{ v atomic.Value }

func (a *atomicText) set(text string) { a.v.Store(text) }
func (a *atomicText) get() string     { return a.v.Load().(string) }

// alertmanager takes alerts below /under, as one behind a proxy does.
type alertmanager struct {
	*httptest.Server
	output
}

func newAlertmanager(t *testing.T) *alertmanager {
	t.Helper()
	a := &alertmanager{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /under/api/v2/alerts", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(&a.output, r.Body) })
	mux.HandleFunc("GET /under/metrics", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok 1") })
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

// clientOf is Prometheus' own.
func clientOf(t *testing.T, url string) apiv1.API {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := api.NewClient(api.Config{Address: url, RoundTripper: transport})
	if err != nil {
		t.Fatal(err)
	}
	return apiv1.NewAPI(c)
}
