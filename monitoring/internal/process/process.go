//go:build unix

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// stopTimeout is how long a server has to end before it is killed.
const stopTimeout = 20 * time.Second

// Process is a running child process. Its methods are safe for concurrent use.
type Process struct {
	name   string
	cmd    *exec.Cmd
	output *Output
	done   chan struct{}
}

// Start starts the program.
func (c Command) Start() (*Process, error) {
	p := &Process{name: c.Name, output: newOutput(), done: make(chan struct{})}
	p.cmd = exec.Command(c.Path, c.Args...) //nolint:gosec,noctx // tests choose it, and end it themselves
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = c.Folder, p.output, p.output
	p.cmd.Env = append(os.Environ(), c.Env...)
	p.cmd.SysProcAttr = attributes()
	started := make(chan error, 1)
	go func() {
		defer close(p.done)
		// On Linux the child dies with the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended shows in its output
		}
	}()
	if err := <-started; err != nil {
		<-p.done
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	return p, nil
}

// Output is what the process has written so far, its end where that is long.
func (p *Process) Output() string { return p.output.String() }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Await calls ask every tenth of a second until it returns nil. It gives up
// when the process ends or ctx does, with what the process wrote.
func (p *Process) Await(ctx context.Context, ask func(context.Context) error) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-p.done:
			if ask(ctx) == nil { // of what it did last
				return nil
			}
			return fmt.Errorf("%s ended:\n%s", p.name, p.Output())
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w, %w; it wrote:\n%s", p.name, ctx.Err(), err, p.Output())
		}
	}
}

// Kill ends the process as kill -9 does and waits for it.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// Stop asks the process to end, waits, and kills it if it does not.
func (p *Process) Stop() error {
	err := p.cmd.Process.Signal(syscall.SIGTERM)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		p.Kill()
		return fmt.Errorf("%s did not stop within %v", p.name, stopTimeout)
	}
}
