package system_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/cli"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
	"github.com/vigie-dev/vigie/services"
	"github.com/vigie-dev/vigie/services/commande"
)

// collector counts what reaches it by path, and may hang.
type collector struct {
	mu     sync.Mutex
	bodies map[string][]byte
	hangs  bool
}

func (c *collector) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	c.bodies[r.URL.Path] = append(c.bodies[r.URL.Path], body...)
	c.mu.Unlock()
	if c.hangs {
		<-r.Context().Done()
	}
}

// switchOn has the services send traces and logs to a collector.
func switchOn(t *testing.T, c *collector) string {
	t.Helper()
	c.bodies = map[string][]byte{}
	server := httptest.NewServer(c)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_LOGS_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
	return server.URL
}

// Settings alone switch traces and logs on, and the start says where they go.
func TestTelemetryGoesWhereItIsConfigured(t *testing.T) {
	c := &collector{}
	url := switchOn(t, c)
	s := bank.Start(t, t.TempDir(), "--log-level", "debug")
	if want := fmt.Sprintf("Traces go to %s/v1/traces (OTLP, http/protobuf), logs to %[1]s/v1/logs (OTLP, http/protobuf).\n", url); !strings.Contains(s.Program.Stdout.String(), want) {
		t.Errorf("no %q in the start text:\n%s", want, s.Program.Stdout)
	}
	p := s.MustOrder(t, "100.50")
	s.Decided(t, p.OrderID)
	s.Settled(t, 1)
	bank.Get(t, s.URLs["sentinelle"]) // which has nothing to do otherwise
	if status := s.Program.Stop(); status != 0 {
		t.Errorf("exit status %d: %s", status, s.Program.Stderr)
	}
	traces, logs := c.bodies["/v1/traces"], c.bodies["/v1/logs"]
	for name := range s.URLs {
		if !bytes.Contains(traces, []byte(name)) || !bytes.Contains(logs, []byte(name)) {
			t.Errorf("%s is not among %d bytes of traces and %d of logs", name, len(traces), len(logs))
		}
	}
	if bytes.Contains(traces, []byte("user123")) || bytes.Contains(traces, []byte("item1")) {
		t.Error("traces name a user or an item")
	}
}

// A collector that hangs costs an order nothing and a stop a few seconds.
func TestACollectorThatHangsIsNobodysProblem(t *testing.T) {
	switchOn(t, &collector{hangs: true})
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "20")
	s := bank.Start(t, t.TempDir(), "--stop-timeout", "10m")
	for range 20 {
		s.MustOrder(t, "1")
	}
	s.Settled(t, 20)
	_, all := bank.Scrape(t, s.Paiement)
	if all[`otel_spans_dropped_total{reason="queue_full",service="paiement"}`] == 0 {
		t.Error("no dropped span is counted")
	}
	if status := s.Program.Stop(); status != 0 {
		t.Errorf("exit status %d: %s", status, s.Program.Stderr)
	}
	if !strings.Contains(s.Program.Stderr.String(), "telemetry did not get out") {
		t.Errorf("the loss is not logged:\n%s", s.Program.Stderr)
	}
}

func TestReadinessIsAMetric(t *testing.T) {
	bank.Parallel(t)
	s := bank.Start(t, t.TempDir())
	for name, url := range s.URLs {
		bank.Eventually(t, func() error {
			if _, all := bank.Scrape(t, url); all[`service_ready{service="`+name+`"}`] != 1 {
				return fmt.Errorf("%s is not ready on its page", name)
			}
			return nil
		})
	}
}

func TestProfilesHaveTheirOwnAddress(t *testing.T) {
	bank.Parallel(t)
	s := bank.Start(t, t.TempDir(), "--pprof-addr", "127.0.0.1:0")
	found := s.Program.Stdout.Wait(t, `Profiles of this process are at (\S+)\.\n`, s.Program.Done)
	if found == nil {
		t.Fatalf("no profiles in the start text:\n%s", s.Program.Stdout)
	}
	if status, body := bank.Get(t, found[1]+"goroutine?debug=1"); status != http.StatusOK || !strings.Contains(body, "goroutine profile") {
		t.Errorf("GET %s = %d %.80q", found[1], status, body)
	}
	for name, url := range s.URLs {
		if status, _ := bank.Get(t, url+"/debug/pprof/"); status != http.StatusNotFound {
			t.Errorf("%s serves profiles on its own address: %d", name, status)
		}
	}
}

func TestSettingsOfTelemetryThatAreRefused(t *testing.T) {
	for want, test := range map[string]struct {
		variable string
		args     []string
	}{
		`OTEL_TRACES_EXPORTER "jaeger": want otlp, console or none`: {variable: "jaeger"},
		"not a loopback address":                                    {args: []string{"--pprof-addr", "0.0.0.0:0"}},
	} {
		t.Setenv("OTEL_TRACES_EXPORTER", test.variable)
		var stderr bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), bank.Patience)
		args := append([]string{"vigie", commande.Name, "--data", t.TempDir(), "--commande-addr", "127.0.0.1:0"}, test.args...)
		began := time.Now()
		if status := cli.Run(ctx, services.All(), args, nil, io.Discard, &stderr); status != 1 || !strings.Contains(stderr.String(), want) {
			t.Errorf("status %d after %v: %s, want %s", status, time.Since(began), stderr.String(), want)
		}
		cancel()
	}
}
