//go:build !race || whole

package system_test

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
	testcerts "github.com/vigie-dev/vigie/internal/testenv/certs"
	"github.com/vigie-dev/vigie/internal/testenv/repo"
	"github.com/vigie-dev/vigie/internal/testenv/series"
	"github.com/vigie-dev/vigie/services"
)

// `vigie up` carries a Prometheus that scrapes every service, also by TLS and
// beside routes that tokens guard, and evaluates every shipped rule but those
// about the broker's exporter, the JVM, the host and the Alertmanager.
func TestPrometheusWatchesEveryService(t *testing.T) {
	bank.Parallel(t)
	pair := testcerts.New(t, "authority").Sign(t, "vigie")
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, []byte(strings.Repeat("t", 40)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := bank.Launch(t, append(bank.FreePorts(services.All()), "--data", t.TempDir(), "--prometheus-addr", "127.0.0.1:0",
		"--http-tls-cert-file", pair.CertFile, "--http-tls-key-file", pair.KeyFile, "--suivi-tokens-file", tokens)...)
	found := p.Stdout.Wait(t, `(?s)Prometheus' API is at (http://\S+),.*Ctrl-C`, p.Done)
	if found == nil {
		t.Fatalf("vigie up ended with %d:\n%s", p.Status, p.Stderr)
	}
	bank.Eventually(t, func() error {
		var up struct{ Data struct{ Result []sample } }
		bank.GetJSON(t, found[1]+"/api/v1/query?query="+url.QueryEscape(`up == 1`), &up)
		var names []string
		for _, s := range up.Data.Result {
			names = append(names, s.Metric["job"]+" "+s.Metric["service"])
		}
		for _, want := range append(services.All().Names(), "") {
			job := "services"
			if want == "" {
				job = "prometheus"
			}
			if !slices.Contains(names, job+" "+want) {
				return fmt.Errorf("%s %s is not up: %q", job, want, names)
			}
		}
		return nil
	})
	var rules struct {
		Data struct {
			Groups []struct {
				File  string
				Rules []struct{ Name string }
			}
		}
	}
	bank.GetJSON(t, found[1]+"/api/v1/rules", &rules)
	evaluated := map[string]bool{}
	for _, group := range rules.Data.Groups {
		for _, rule := range group.Rules {
			evaluated[rule.Name] = true
		}
	}
	shipped, err := series.Rules(repo.Path(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range shipped {
		elsewhere := slices.ContainsFunc([]string{"jmx_", "java_", "kafka_server_", "kafka_controller_", "node_filesystem", "alertmanager_config", "otelcol_"}, func(part string) bool {
			return strings.Contains(rule.Expr, part)
		})
		if name := rule.Alert + rule.Record; evaluated[name] == elsewhere {
			t.Errorf("rule %s is evaluated: %v; its expression is %s", name, !elsewhere, rule.Expr)
		}
	}
	bank.Eventually(t, func() error { // it says what an alert is doing
		e := bank.Launch(t, "explain", "--prometheus-url", found[1], "KafkaDown")
		<-e.Done
		if text := e.Stdout.String(); e.Status != 0 || !strings.HasPrefix(text, "KafkaDown (critical): does not fire") || !strings.Contains(text, "\nMEANING\n") {
			return fmt.Errorf("vigie explain ended with %d:\n%s%s", e.Status, text, e.Stderr)
		}
		return nil
	})
}

// sample is one series of an answer.
type sample struct{ Metric map[string]string }

// With another Prometheus, or none, none is started.
func TestAnotherPrometheusOrNone(t *testing.T) {
	bank.Parallel(t)
	for name, args := range map[string][]string{
		"another": {"--prometheus-addr", "127.0.0.1:0", "--prometheus-url", "http://127.0.0.1:1"},
		"none":    {"--prometheus-addr", ""},
	} {
		t.Run(name, func(t *testing.T) {
			data := t.TempDir()
			s := bank.Start(t, data, args...)
			if text := s.Program.Stdout.String(); strings.Contains(text, "Prometheus' API") {
				t.Errorf("a Prometheus was started:\n%s", text)
			}
			if _, err := os.Stat(filepath.Join(data, "prometheus")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it has a folder: %v", err)
			}
		})
	}
}
