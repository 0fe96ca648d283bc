//go:build unix

package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	testproc "github.com/vigie-dev/vigie/internal/testenv/proc"
)

// startTimeout bounds a start on a loaded machine.
const startTimeout = time.Minute

// Program is a vigie subcommand that runs until it is stopped, with a log file
// that goes on over restarts.
type Program struct {
	Name string

	binary  string
	args    []string
	env     []string
	log     string
	stderr  io.Writer // beside the log file; may be nil
	up      *regexp.Regexp
	process *testproc.Process
}

// Start starts the program, with settings added to its environment, and
// returns once it says that it is up. An error shows the end of its log.
func (p *Program) Start(ctx context.Context, env ...string) error {
	if p.process != nil && p.process.Running() {
		return fmt.Errorf("start %s: it is running", p.Name)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", p.Name, err)
	}
	seen := testproc.NewOutput()
	stderr := io.Writer(log)
	if p.stderr != nil {
		stderr = io.MultiWriter(log, p.stderr)
	}
	p.process, err = testproc.Start(testproc.Spec{
		Path: p.binary, Args: p.args, Env: append(p.env[:len(p.env):len(p.env)], env...), Stdout: seen, Stderr: stderr,
	})
	if err != nil {
		return errors.Join(err, log.Close())
	}
	go func(p *testproc.Process) {
		<-p.Done()
		_ = log.Close() // written in full by now
	}(p.process)
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	found, err := seen.Await(ctx, p.up, p.process.Done())
	if err == nil && found == nil {
		err = fmt.Errorf("it ended with %d", p.process.Status())
	}
	if err != nil {
		p.process.Kill()
		return fmt.Errorf("start %s: %w\n%s", p.Name, err, p.LogTail())
	}
	return nil
}

// Process is the program's process of the moment.
func (p *Program) Process() *testproc.Process { return p.process }

// Running says whether the program was started and has not ended.
func (p *Program) Running() bool { return p.process != nil && p.process.Running() }

// Kill ends the program as kill -9 does.
func (p *Program) Kill() {
	if p.process != nil {
		p.process.Kill()
	}
}

// LogTail is the last few lines of the program's log, over all its starts.
func (p *Program) LogTail() string { return testproc.Tail(p.log) }

func logFile(folder, name string) string { return filepath.Join(folder, name+".log") }
