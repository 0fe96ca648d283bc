//go:build !race || whole

package system_test

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
	"github.com/vigie-dev/vigie/services"
)

// What keeps a start from succeeding is reported in one line that names the
// setting to change.
func TestAFailedStartNamesTheSetting(t *testing.T) {
	bank.Parallel(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	const nobody = "127.0.0.1:1"
	inUse := t.TempDir()
	bank.Start(t, inUse)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	unused := append(bank.FreePorts(services.All()), "--log-level", "error") // a slow machine has something to warn of
	for name, tt := range map[string]struct {
		status int
		args   []string
		want   []string
	}{
		"service port in use":   {1, append(slices.Clone(unused), "--data", t.TempDir(), "--suivi-addr", taken.Addr().String()), []string{"SUIVI_ADDR", taken.Addr().String()}},
		"second address in use": {1, append(slices.Clone(unused), "--data", t.TempDir(), "--suivi-addr", "127.0.0.1:0, "+taken.Addr().String()), []string{"SUIVI_ADDR", taken.Addr().String()}},
		"broker port in use":    {1, append(slices.Clone(unused), "--data", t.TempDir(), "--broker-addr", taken.Addr().String()), []string{"BROKER_ADDR", taken.Addr().String()}},
		"Prometheus' in use":    {1, append(slices.Clone(unused), "--data", t.TempDir(), "--prometheus-addr", taken.Addr().String()), []string{"PROMETHEUS_ADDR", "PROMETHEUS_URL", taken.Addr().String()}},
		"bad Alertmanager":      {2, append(slices.Clone(unused), "--data", t.TempDir(), "--prometheus-addr", "127.0.0.1:0", "--alertmanager-url", "am:9093"), []string{"ALERTMANAGER_URL", "am:9093"}},
		"folder in use":         {1, append(slices.Clone(unused), "--data", inUse), []string{"--data", "in use by another process"}},
		"folder not writable":   {1, append(slices.Clone(unused), "--data", filepath.Join(file, "below")), []string{"--data", "cannot be written"}},
		"no broker":             {1, append(slices.Clone(unused), "--data", t.TempDir(), "--kafka-brokers", nobody, "--kafka-patience", bank.OneTry), []string{"KAFKA_BROKERS", nobody}},
		"bad broker address":    {2, append(slices.Clone(unused), "--data", t.TempDir(), "--kafka-brokers", "nowhere"), []string{"KAFKA_BROKERS", "host:port"}},
		"bad storage":           {2, append(slices.Clone(unused), "--data", t.TempDir(), "--database-url", "mysql:x"), []string{"DATABASE_URL", "sqlite:FOLDER"}},
		"bad reject rate":       {2, append(slices.Clone(unused), "--data", t.TempDir(), "--paiement-reject-rate", "1.5"), []string{"PAIEMENT_REJECT_RATE", "between 0 and 1"}},
		"bad log format":        {2, append(slices.Clone(unused), "--data", t.TempDir(), "--log-format", "xml"), []string{"log-format", "auto, text, json"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := bank.Launch(t, tt.args...)
			<-p.Done
			if p.Status != tt.status {
				t.Errorf("exit status %d, want %d", p.Status, tt.status)
			}
			text := p.Stderr.String()
			if strings.Count(text, "\n") != 1 {
				t.Errorf("want one line, got:\n%s", text)
			}
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("%q does not name %q", text, want)
				}
			}
		})
	}
}

// Storage that was filled from one cluster is refused on another.
func TestStorageOfAnotherClusterIsRefused(t *testing.T) {
	bank.Parallel(t)
	state := "sqlite:" + t.TempDir()
	s := bank.Start(t, t.TempDir(), "--database-url", state)
	s.MustOrder(t, "1")
	s.Settled(t, 1)
	s.Program.Stop()
	p := bank.Launch(t, append(bank.FreePorts(services.All()), "--data", t.TempDir(), "--database-url", state)...)
	<-p.Done
	if text := p.Stderr.String(); p.Status != 1 || !strings.Contains(text, "belongs to another cluster") || !strings.Contains(text, "--data") {
		t.Errorf("exit status %d: %s", p.Status, text)
	}
}
