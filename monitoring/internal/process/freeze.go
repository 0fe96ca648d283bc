//go:build unix

package process

import (
	"fmt"
	"syscall"
)

// Freeze stalls the process as SIGSTOP does: it keeps its connections and
// answers nothing, until [Process.Thaw] or its end.
func (p *Process) Freeze() error { return p.signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (p *Process) Thaw() error { return p.signal(syscall.SIGCONT) }

func (p *Process) signal(signal syscall.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil {
		return fmt.Errorf("send %v to %s: %w", signal, p.name, err)
	}
	return nil
}
