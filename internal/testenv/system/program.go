//go:build unix

package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/testenv/proc"
)

const (
	startTimeout = 3 * time.Minute // a loaded machine; usual is a second
	stopTimeout  = time.Minute
)

// Build builds the vigie command into a folder and returns its path. As in
// make build there is no cgo, so that the two share what is cached.
func Build(ctx context.Context, folder string) (string, error) { return build(ctx, folder) }

func build(ctx context.Context, folder string, flags ...string) (string, error) {
	binary := filepath.Join(folder, "vigie")
	args := append([]string{"build", "-o", binary}, append(flags, command)...)
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // constants
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build vigie: %w\n%s", err, output)
	}
	return binary, nil
}

// Program is a vigie subcommand that runs until it is stopped, with a log file
// that goes on over restarts.
type Program struct {
	Name string
	// Log is the path of the log file, with what the program writes to standard
	// error.
	Log string

	binary  string
	args    []string
	env     []string  // NAME=value
	stderr  io.Writer // beside the log file; may be nil
	up      *regexp.Regexp
	process *proc.Process
}

// NewProgram prepares a vigie subcommand; it does not run yet. up matches what
// it writes to standard output when it is up. Its log file is in the folder
// logs.
func NewProgram(binary, logs, name string, up *regexp.Regexp, args ...string) *Program {
	return &Program{Name: name, Log: filepath.Join(logs, name+".log"), binary: binary, args: args, up: up}
}

// Start starts the program, with settings added to its environment, and
// returns once it says that it is up. An error shows the end of its log.
func (p *Program) Start(ctx context.Context, env ...string) error {
	if p.process != nil && p.process.Running() {
		return fmt.Errorf("start %s: it is running", p.Name)
	}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", p.Name, err)
	}
	stderr := io.Writer(log)
	if p.stderr != nil {
		stderr = io.MultiWriter(log, p.stderr)
	}
	p.process, err = proc.Start(proc.Spec{
		Name: p.Name, Path: p.binary, Args: p.args, Env: append(p.env[:len(p.env):len(p.env)], env...), Stderr: stderr,
	})
	if err != nil {
		return errors.Join(err, log.Close())
	}
	go func(p *proc.Process) {
		<-p.Done()
		_ = log.Close() // written in full by now
	}(p.process)
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if _, err := p.process.Find(ctx, p.up); err != nil {
		p.process.Kill()
		return fmt.Errorf("start %s: %w\n%s", p.Name, err, p.LogTail())
	}
	return nil
}

// Run starts the program for a test, with which it ends; of one that fails it shows the
// end of its log.
func (p *Program) Run(t testing.TB) {
	t.Helper()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("the end of the log of %s:\n%s", p.Name, p.LogTail())
		}
	})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Process is the program's process of the moment.
func (p *Program) Process() *proc.Process { return p.process }

// Running says whether the program was started and has not ended.
func (p *Program) Running() bool { return p.process != nil && p.process.Running() }

// Stop ends the program as its operator would.
func (p *Program) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return p.process.Stop(ctx)
}

// Kill ends the program as kill -9 does.
func (p *Program) Kill() {
	if p.process != nil {
		p.process.Kill()
	}
}

// LogTail is the last few lines of the program's log, over all its starts.
func (p *Program) LogTail() string { return proc.Tail(p.Log) }

// Broker is what the services meet through, and can be crashed too: the
// embedded broker, or a real Kafka or a cluster of it, which package kafka runs.
type Broker interface {
	// Address is where clients connect, with commas where there are several
	// nodes; it stays over restarts.
	Address() string
	// Restart starts a broker that was killed or stopped.
	Restart(ctx context.Context) error
	// Kill ends it as kill -9 does.
	Kill()
	// Stop ends it as its operator would.
	Stop() error
	// Processes are its processes of the moment, one for each node.
	Processes() []*proc.Process
	// LogTail is the end of its log.
	LogTail() string
}

// Embedded is `vigie broker` as a process of its own.
type Embedded struct {
	*Program
	address string
}

// StartEmbedded starts the embedded broker on a data folder, with further
// settings, NAME=value, which stay over restarts.
func StartEmbedded(ctx context.Context, binary, data, logs string, env ...string) (*Embedded, error) {
	address, err := proc.FreeAddress()
	if err != nil {
		return nil, err
	}
	args := []string{"broker", "--data", data, "--broker-addr", address}
	b := &Embedded{NewProgram(binary, logs, "broker", regexp.MustCompile(`listens on \S+`), args...), address}
	b.env = env
	return b, b.Start(ctx)
}

// Address implements [Broker].
func (b *Embedded) Address() string { return b.address }

// Processes implements [Broker].
func (b *Embedded) Processes() []*proc.Process { return []*proc.Process{b.process} }

// Restart implements [Broker].
func (b *Embedded) Restart(ctx context.Context) error { return b.Start(ctx) }
