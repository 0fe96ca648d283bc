package process

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"
)

// A frozen process is there and does nothing until it is thawed; it can be
// killed.
func TestAProcessIsFrozen(t *testing.T) {
	p, err := Start("shell", t.TempDir(), "/bin/sh", "-c", "while :; do :; done")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	for _, step := range []struct {
		do    func() error
		state byte
	}{{p.Freeze, 'T'}, {p.Thaw, 'R'}, {p.Freeze, 'T'}} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if err := p.Await(t.Context(), is(p, step.state)); err != nil {
			t.Fatal(err)
		}
	}
	p.Kill()
	if err := p.Thaw(); err == nil {
		t.Error("a dead process was thawed")
	}
}

// is asks the kernel for the process's state.
func is(p *Process, want byte) func(context.Context) error {
	return func(context.Context) error {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
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
