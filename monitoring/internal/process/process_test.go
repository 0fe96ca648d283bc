//go:build unix

package process_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vigie-dev/vigie/monitoring/internal/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func shell(t *testing.T, script string) *process.Process {
	t.Helper()
	p, err := process.Start("shell", t.TempDir(), "/bin/sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// wrote asks whether the process has written a text.
func wrote(p *process.Process, text string) func(context.Context) error {
	return func(context.Context) error {
		if !strings.Contains(p.Output(), text) {
			return errors.New("not yet")
		}
		return nil
	}
}

func TestAProcessIsAwaitedAndStopped(t *testing.T) {
	p := shell(t, "trap 'echo bye; exit' TERM; echo up; while :; do sleep 0.05; done")
	if err := p.Await(t.Context(), wrote(p, "up")); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if err := p.Stop(); err != nil {
		t.Errorf("a second stop: %v", err)
	}
	if !strings.Contains(p.Output(), "bye") {
		t.Errorf("it wrote %q", p.Output())
	}
}

func TestSettingsOfAProcess(t *testing.T) {
	t.Setenv("OUTER", "kept")
	t.Setenv("BOTH", "outer")
	p, err := process.Command{
		Name: "shell", Folder: t.TempDir(), Path: "/bin/sh", Args: []string{"-c", "echo $OUTER $BOTH"}, Env: []string{"BOTH=inner"},
	}.Start()
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if got := p.Output(); got != "kept inner\n" {
		t.Errorf("the process sees %q", got)
	}
}

func TestAwaitGivesUp(t *testing.T) {
	ended := shell(t, "echo why; exit 3")
	if err := ended.Await(t.Context(), wrote(ended, "never")); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("wait for a process that ended: %v", err)
	}
	silent := shell(t, "while :; do sleep 0.05; done")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := silent.Await(ctx, wrote(silent, "never")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait for a silent process: %v", err)
	}
}

// What a process did just before its end counts.
func TestAwaitSeesTheEnd(t *testing.T) {
	for range 20 {
		p := shell(t, "echo done")
		if err := p.Await(t.Context(), wrote(p, "done")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAProgramThatIsNotThere(t *testing.T) {
	if _, err := process.Start("nothing", t.TempDir(), "/nonexistent"); err == nil {
		t.Error("started")
	}
}

func TestAddressesAreFree(t *testing.T) {
	first, err := process.FreeAddress()
	if err != nil || !strings.HasPrefix(first, "127.0.0.1:") {
		t.Errorf("%q, %v", first, err)
	}
}
