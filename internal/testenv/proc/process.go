//go:build unix

package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// outputDelay bounds the wait for a dead process's last words.
const outputDelay = 5 * time.Second

// Spec says what to run.
type Spec struct {
	Path   string
	Args   []string
	Env    []string  // added to the test's own environment
	Dir    string    // "" is the test's own
	Stdout io.Writer // nil discards
	Stderr io.Writer // nil discards; may be the same as Stdout
	// Credential is whom to run as, for programs that refuse to be root; nil
	// is the test's own user.
	Credential *syscall.Credential
}

// Process is a running child process. It dies with the test at the latest,
// where the system can arrange that. Its methods are safe for concurrent use.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// Start starts a process.
func Start(s Spec) (*Process, error) {
	cmd := exec.Command(s.Path, s.Args...) //nolint:gosec,noctx // tests choose it, and end it themselves
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, s.Stdout, s.Stderr
	cmd.SysProcAttr = attributes()
	cmd.SysProcAttr.Credential = s.Credential
	cmd.WaitDelay = outputDelay
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The death signal comes with the end of the thread that started the
		// child: this one stays.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // Status tells
		}
	}()
	if err := <-started; err != nil {
		<-p.done
		return nil, fmt.Errorf("start %s: %w", s.Path, err)
	}
	return p, nil
}

// Done is closed when the process has ended and its output is complete.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running says whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Status waits for the end and returns the exit status, -1 for a process that
// a signal ended.
func (p *Process) Status() int {
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// Kill ends the process as kill -9 does, also a frozen one, and waits for it.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// Stop asks the process to end and waits for it. When ctx ends first the
// process is killed, which is an error.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("process %d did not stop: %w", p.cmd.Process.Pid, ctx.Err())
	}
}

// Freeze stops the process where it stands, with all that it holds, until
// [Process.Thaw].
func (p *Process) Freeze() error { return p.Signal(syscall.SIGSTOP) }

// Thaw has a frozen process go on.
func (p *Process) Thaw() error { return p.Signal(syscall.SIGCONT) }

// ID is the process's number.
func (p *Process) ID() int { return p.cmd.Process.Pid }

// Signal sends a signal. That the process has ended is no error: Done tells.
func (p *Process) Signal(s syscall.Signal) error {
	err := p.cmd.Process.Signal(s)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to process %d: %w", s, p.cmd.Process.Pid, err)
	}
	return nil
}
