//go:build unix

package proc_test

import (
	"context"
	"net"
	"regexp"
	"testing"
	"time"

	"go.uber.org/goleak"

	testproc "github.com/vigie-dev/vigie/internal/testenv/proc"
)

const patience = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func shell(t *testing.T, script string) (*testproc.Process, *testproc.Output) {
	t.Helper()
	out := testproc.NewOutput()
	p, err := testproc.Start(testproc.Spec{Path: "/bin/sh", Args: []string{"-c", script}, Stdout: out, Stderr: out})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p, out
}

func await(t *testing.T, p *testproc.Process, out *testproc.Output, pattern string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	found, err := out.Await(ctx, regexp.MustCompile(pattern), p.Done())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestAProcessIsAwaitedAndTellsItsStatus(t *testing.T) {
	p, out := shell(t, "echo ready on 42; exit 3")
	if found := await(t, p, out, `on (\d+)`); len(found) != 2 || found[1] != "42" {
		t.Errorf("found %q", found)
	}
	if p.Status() != 3 || p.Running() {
		t.Errorf("status %d, running %v", p.Status(), p.Running())
	}
	if found := await(t, p, out, "never"); found != nil {
		t.Errorf("found %q in the output of a process that ended", found)
	}
}

func TestKillEndsAFrozenProcess(t *testing.T) {
	p, out := shell(t, "trap '' TERM; echo up; while :; do read line; done")
	await(t, p, out, "up")
	if err := p.Freeze(); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	if p.Status() != -1 {
		t.Errorf("status %d of a killed process", p.Status())
	}
	if err := p.Thaw(); err != nil {
		t.Errorf("a signal to an ended process: %v", err)
	}
}

func TestStopWaitsAndThenKills(t *testing.T) {
	polite, out := shell(t, "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done")
	await(t, polite, out, "up")
	if err := polite.Stop(t.Context()); err != nil || polite.Status() != 7 {
		t.Errorf("stop: %v, status %d", err, polite.Status())
	}
	deaf, out := shell(t, "trap '' TERM; echo up; while :; do sleep 0.05; done")
	await(t, deaf, out, "up")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := deaf.Stop(over); err == nil || deaf.Running() {
		t.Errorf("stop of a process that does not listen: %v, running %v", err, deaf.Running())
	}
}

func TestFreeAddressIsFree(t *testing.T) {
	address, err := testproc.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}
