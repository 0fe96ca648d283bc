//go:build unix

package proc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// outputDelay bounds the wait for a dead process's last words.
const outputDelay = 30 * time.Second

// poll is how often [Process.Await] checks.
const poll = 100 * time.Millisecond

// Spec says what to run.
type Spec struct {
	Name string // for errors and logs; "" is Path
	Path string
	Args []string
	Env  []string // NAME=value, beside the test's own environment, over which it wins
	Dir  string   // "" is the test's own
	// What is nil is collected, see [Process.Output]. The two may be the same.
	Stdout, Stderr io.Writer
	// Credential is the user to run as, for programs that refuse to be root; nil
	// is the test's own user.
	Credential *syscall.Credential
}

// Process is a running child process. It dies with the test at the latest,
// where the system can arrange that. Its methods are safe for concurrent use.
type Process struct {
	name   string
	cmd    *exec.Cmd
	output *Output
	done   chan struct{}
}

// StartFor is [Start] for a test, with which the process ends. It works in a
// folder of its own unless the spec names one, and a test that fails shows the
// end of what it wrote.
func StartFor(t testing.TB, s Spec) *Process {
	t.Helper()
	if s.Dir == "" {
		s.Dir = t.TempDir()
	}
	p, err := Start(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("the end of what %s wrote:\n%s", p.name, End(p.Output()))
		}
	})
	return p
}

// Start starts a process.
func Start(s Spec) (*Process, error) {
	cmd := exec.Command(s.Path, s.Args...) //nolint:gosec,noctx // tests choose it, and end it themselves
	cmd.Env = append(os.Environ(), s.Env...)
	p := &Process{name: cmp.Or(s.Name, s.Path), cmd: cmd, output: NewOutput(), done: make(chan struct{})}
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, s.Stdout, s.Stderr
	if s.Stdout == nil {
		cmd.Stdout = p.output
	}
	if s.Stderr == nil {
		cmd.Stderr = p.output
	}
	cmd.SysProcAttr = attributes()
	cmd.SysProcAttr.Credential = s.Credential
	cmd.WaitDelay = outputDelay
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
			_ = cmd.Wait() // Status has the result
		}
	}()
	if err := <-started; err != nil {
		<-p.done
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	return p, nil
}

// Output is what the process has written so far of what its [Spec] sends
// nowhere else.
func (p *Process) Output() string { return p.output.String() }

// Find returns a pattern's submatches once the process has written it, see
// [Process.Output]. It is an error that the process or ctx ends first.
func (p *Process) Find(ctx context.Context, pattern *regexp.Regexp) ([]string, error) {
	found, err := p.output.Await(ctx, pattern, p.done)
	if err == nil && found == nil {
		err = fmt.Errorf("%s ended with %d, and did not write %q:\n%s", p.name, p.Status(), pattern, End(p.Output()))
	}
	return found, err
}

// Await checks every tenth of a second until the result is nil. It gives up when
// the process or ctx ends, with what the process wrote.
func (p *Process) Await(ctx context.Context, ask func(context.Context) error) error {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-p.done:
			if err = ask(ctx); err == nil { // of what it did last
				return nil
			}
			return fmt.Errorf("%s ended with %d: %w\n%s", p.name, p.Status(), err, End(p.Output()))
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w, %w; it wrote:\n%s", p.name, ctx.Err(), err, End(p.Output()))
		}
	}
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
		return fmt.Errorf("%s did not stop: %w", p.name, ctx.Err())
	}
}

// Freeze stops the process where it stands, with all that it holds, until
// [Process.Thaw].
func (p *Process) Freeze() error { return p.Signal(syscall.SIGSTOP) }

// Thaw has a frozen process go on.
func (p *Process) Thaw() error { return p.Signal(syscall.SIGCONT) }

// ID is the process's number.
func (p *Process) ID() int { return p.cmd.Process.Pid }

// Signal sends a signal. That the process has ended is no error: see Done.
func (p *Process) Signal(s syscall.Signal) error {
	err := p.cmd.Process.Signal(s)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to %s: %w", s, p.name, err)
	}
	return nil
}
