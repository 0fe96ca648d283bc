//go:build unix

package proc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	"github.com/vigie-dev/vigie/internal/testenv/proc"
)

// patience bounds a hang, on the slowest machine.
const patience = 2 * time.Minute

func TestMain(m *testing.M) { leaks.Main(m) }

func shell(t *testing.T, script string) *proc.Process {
	t.Helper()
	return proc.StartFor(t, proc.Spec{Name: "shell", Path: "/bin/sh", Args: []string{"-c", script}})
}

func find(t *testing.T, p *proc.Process, pattern string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	found, err := p.Find(ctx, regexp.MustCompile(pattern))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// wrote says whether the process has written a text.
func wrote(p *proc.Process, text string) func(context.Context) error {
	return func(context.Context) error {
		if !strings.Contains(p.Output(), text) {
			return errors.New("not yet")
		}
		return nil
	}
}

func TestWaitingForAProcessReturnsItsStatus(t *testing.T) {
	p := shell(t, "echo ready on 42; exit 3")
	if found := find(t, p, `on (\d+)`); found[1] != "42" {
		t.Errorf("found %q", found)
	}
	if p.Status() != 3 || p.Running() {
		t.Errorf("status %d, running %v", p.Status(), p.Running())
	}
	if found, err := p.Find(t.Context(), regexp.MustCompile("never")); err == nil || !strings.Contains(err.Error(), "ready on 42") {
		t.Errorf("found %q, %v in the output of a process that ended", found, err)
	}
}

// What a caller collects itself is awaited as well.
func TestOutputOfACallersOwn(t *testing.T) {
	out := proc.NewOutput()
	p := proc.StartFor(t, proc.Spec{Path: "/bin/sh", Args: []string{"-c", "echo heard; echo seen >&2"}, Stdout: out})
	<-p.Done()
	if found, err := out.Await(t.Context(), regexp.MustCompile("hear."), p.Done()); err != nil || found == nil {
		t.Errorf("found %q, %v", found, err)
	}
	if found, err := out.Await(t.Context(), regexp.MustCompile("never"), p.Done()); err != nil || found != nil {
		t.Errorf("found %q, %v", found, err)
	}
	if out.String() != "heard\n" || p.Output() != "seen\n" {
		t.Errorf("heard %q, seen %q", out, p.Output())
	}
}

func TestAwaitGivesUp(t *testing.T) {
	ended := shell(t, "echo why; exit 3")
	if err := ended.Await(t.Context(), wrote(ended, "never")); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("wait for a process that ended: %v", err)
	}
	silent := shell(t, "while :; do sleep 0.05; done")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := silent.Await(over, wrote(silent, "never")); !errors.Is(err, context.Canceled) {
		t.Errorf("wait for a silent process: %v", err)
	}
	if _, err := silent.Find(over, regexp.MustCompile("never")); !errors.Is(err, context.Canceled) {
		t.Errorf("wait for what a silent process writes: %v", err)
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

func TestSettingsOfAProcess(t *testing.T) {
	t.Setenv("OUTER", "kept")
	t.Setenv("BOTH", "outer")
	p := proc.StartFor(t, proc.Spec{Path: "/bin/sh", Args: []string{"-c", "echo $OUTER $BOTH"}, Env: []string{"BOTH=inner"}})
	<-p.Done()
	if got := p.Output(); got != "kept inner\n" {
		t.Errorf("the process sees %q", got)
	}
}

func TestAProgramThatIsNotThere(t *testing.T) {
	if _, err := proc.Start(proc.Spec{Path: "/nonexistent"}); err == nil {
		t.Error("started")
	}
}

// A frozen process is there and does nothing until it is thawed; it can be
// killed.
func TestAProcessIsFrozen(t *testing.T) {
	p := shell(t, "trap '' TERM; echo up; while :; do :; done")
	find(t, p, "up")
	for _, step := range []struct {
		do    func() error
		state byte
	}{{p.Freeze, 'T'}, {p.Thaw, 'R'}, {p.Freeze, 'T'}} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "linux" {
			continue
		}
		if err := p.Await(t.Context(), is(p, step.state)); err != nil {
			t.Fatal(err)
		}
	}
	p.Kill()
	if p.Status() != -1 {
		t.Errorf("status %d of a killed process", p.Status())
	}
	if err := p.Thaw(); err != nil {
		t.Errorf("a signal to an ended process: %v", err)
	}
}

// is reads the process's state from the kernel.
func is(p *proc.Process, want byte) func(context.Context) error {
	return func(context.Context) error {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.ID()))
		if err != nil {
			return err
		}
		_, after, _ := bytes.Cut(text, []byte(") "))
		if len(after) == 0 || after[0] != want {
			return fmt.Errorf("state %.1s, want %c", after, want)
		}
		return nil
	}
}

func TestStopWaitsAndThenKills(t *testing.T) {
	polite := shell(t, "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done")
	find(t, polite, "up")
	for range 2 { // an ended process is stopped
		if err := polite.Stop(t.Context()); err != nil || polite.Status() != 7 || !strings.Contains(polite.Output(), "bye") {
			t.Errorf("stop: %v, status %d, %q", err, polite.Status(), polite.Output())
		}
	}
	deaf := shell(t, "trap '' TERM; echo up; while :; do sleep 0.05; done")
	find(t, deaf, "up")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := deaf.Stop(over); err == nil || deaf.Running() {
		t.Errorf("stop of a process that does not listen: %v, running %v", err, deaf.Running())
	}
}

func TestFreeAddressesAreFree(t *testing.T) {
	all, err := proc.FreeAddresses(3)
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range append(all, proc.Address(t)) {
		l, err := net.Listen("tcp", address)
		if err != nil || !strings.HasPrefix(address, "127.0.0.1:") {
			t.Fatalf("%s: %v", address, err)
		}
		_ = l.Close()
	}
	if all[0] == all[1] || all[1] == all[2] || all[0] == all[2] {
		t.Errorf("one address twice: %v", all)
	}
}
