//go:build unix

package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/monitoring/internal/process"
)

// startTimeout bounds a start on a loaded machine.
const startTimeout = 2 * time.Minute

// build builds the vigie command of the repository.
func build(t testing.TB, folder string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "vigie")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./internal/cli") //nolint:gosec // a test's own folder
	cmd.Dir = filepath.Join(folder, "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build vigie: %v\n%s", err, output)
	}
	return binary
}

// startSystem starts `vigie up` on free ports and returns the services'
// addresses.
func startSystem(t testing.TB, binary, brokers string) (*process.Process, map[string]string) {
	t.Helper()
	args := []string{"up", "--data", t.TempDir(), "--kafka-brokers", brokers, "--kafka-patience", "60s", "--log-format", "json"}
	for _, name := range services() {
		args = append(args, "--"+name+"-addr", "127.0.0.1:0")
	}
	p := run(t, "vigie up", binary, args...)
	addresses := map[string]string{}
	for _, name := range services() {
		addresses[name] = await(t, p, name+` +http://(\S+)`)
	}
	return p, addresses
}

// startSink starts `vigie alerts` on a free port and returns its address.
func startSink(t testing.TB, binary string) (*process.Process, string) {
	t.Helper()
	p := run(t, "vigie alerts", binary, "alerts", "--alerts-addr", "127.0.0.1:0", "--log-format", "json")
	return p, await(t, p, `taken at http://(\S+)/alerts`)
}

func services() []string { return []string{"commande", "suivi", "analyseur", "paiement"} }

func run(t testing.TB, name, binary string, args ...string) *process.Process {
	t.Helper()
	return runCommand(t, process.Command{Name: name, Path: binary, Args: args})
}

// runCommand is run with all that a command can have; its folder is the test's.
func runCommand(t testing.TB, command process.Command) *process.Process {
	t.Helper()
	command.Folder = t.TempDir()
	p, err := command.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			text := p.Output()
			t.Logf("the end of what %s wrote:\n%s", command.Name, text[max(0, len(text)-4000):])
		}
	})
	return p
}

// await returns what the pattern's group matches once the process wrote it.
func await(t testing.TB, p *process.Process, pattern string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	var found []string
	err := p.Await(ctx, func(context.Context) error {
		if found = regexp.MustCompile(pattern).FindStringSubmatch(p.Output()); found == nil {
			return errors.New("not written yet")
		}
		return nil
	})
	if err != nil {
		t.Fatal(fmt.Errorf("wait for %q: %w", pattern, err))
	}
	return found[1]
}
