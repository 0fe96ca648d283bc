package cli

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/services"
)

// What keeps a start from succeeding is told in one line that names the
// setting to change.
func TestAFailedStartNamesTheSetting(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	inUse := t.TempDir()
	startSystem(t, inUse)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	unused := []string{
		"--broker-addr", "127.0.0.1:0", "--commande-addr", "127.0.0.1:0", "--suivi-addr", "127.0.0.1:0",
		"--analyseur-addr", "127.0.0.1:0", "--paiement-addr", "127.0.0.1:0",
	}
	for name, tt := range map[string]struct {
		args []string
		want []string
	}{
		"service port in use":   {append(slices.Clone(unused), "--data", t.TempDir(), "--suivi-addr", taken.Addr().String()), []string{"SUIVI_ADDR", taken.Addr().String()}},
		"second address in use": {append(slices.Clone(unused), "--data", t.TempDir(), "--suivi-addr", "127.0.0.1:0, "+taken.Addr().String()), []string{"SUIVI_ADDR", taken.Addr().String()}},
		"broker port in use":    {append(slices.Clone(unused), "--data", t.TempDir(), "--broker-addr", taken.Addr().String()), []string{"BROKER_ADDR", taken.Addr().String()}},
		"folder in use":         {append(slices.Clone(unused), "--data", inUse), []string{"--data", "in use by another process"}},
		"folder not writable":   {append(slices.Clone(unused), "--data", filepath.Join(file, "below")), []string{"--data", "cannot be written"}},
		"no broker":             {append(slices.Clone(unused), "--data", t.TempDir(), "--kafka-brokers", taken.Addr().String(), "--kafka-patience", "1ms"), []string{"KAFKA_BROKERS", taken.Addr().String()}},
		"bad broker address":    {append(slices.Clone(unused), "--data", t.TempDir(), "--kafka-brokers", "nowhere"), []string{"KAFKA_BROKERS", "host:port"}},
		"bad storage":           {append(slices.Clone(unused), "--data", t.TempDir(), "--database-url", "mysql:x"), []string{"DATABASE_URL", "sqlite:FOLDER"}},
		"bad reject rate":       {append(slices.Clone(unused), "--data", t.TempDir(), "--paiement-reject-rate", "1.5"), []string{"PAIEMENT_REJECT_RATE", "between 0 and 1"}},
		"bad log format":        {append(slices.Clone(unused), "--data", t.TempDir(), "--log-format", "xml"), []string{"log-format", "auto, text, json"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := launch(t, append([]string{"up"}, tt.args...)...)
			<-p.done
			if p.status != 1 {
				t.Errorf("exit status %d, want 1", p.status)
			}
			text := p.stderr.String()
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
	state := "sqlite:" + t.TempDir()
	s := startSystem(t, t.TempDir(), "--database-url", state)
	s.mustOrder(t, "1")
	s.settled(t, 1)
	s.program.stop()
	p := launch(t, "up", "--data", t.TempDir(), "--database-url", state, "--broker-addr", "127.0.0.1:0", "--commande-addr", "127.0.0.1:0",
		"--suivi-addr", "127.0.0.1:0", "--analyseur-addr", "127.0.0.1:0", "--paiement-addr", "127.0.0.1:0")
	<-p.done
	if text := p.stderr.String(); p.status != 1 || !strings.Contains(text, "belongs to another cluster") || !strings.Contains(text, "--data") {
		t.Errorf("exit status %d: %s", p.status, text)
	}
}

// Every command explains itself.
func TestHelp(t *testing.T) {
	for _, c := range newCommand(services.All(), os.Stdout, os.Stderr).Commands {
		p := launch(t, c.Name, "--help")
		<-p.done
		text := p.stdout.String()
		if p.status != 0 || !strings.Contains(text, c.Usage) {
			t.Errorf("vigie %s --help = %d:\n%s", c.Name, p.status, text)
		}
		for _, f := range c.Flags {
			if !strings.Contains(text, "--"+f.Names()[0]) {
				t.Errorf("vigie %s --help does not explain --%s", c.Name, f.Names()[0])
			}
		}
	}
}
