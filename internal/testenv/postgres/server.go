//go:build unix

package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/vigie-dev/vigie/internal/lifecycle"
	testproc "github.com/vigie-dev/vigie/internal/testenv/proc"
)

const (
	startTimeout = time.Minute // a loaded machine; usual is a second
	stopTimeout  = 30 * time.Second
	poll         = 20 * time.Millisecond
	superuser    = "vigie"
	// Password is the one user's. It has what a URL must encode.
	Password = "hemlig/lösen:ord@%" //nolint:gosec // of a server that tests start
)

// Server is a PostgreSQL server of a test's own.
type Server struct {
	installation
	folder  string
	address string
	process *testproc.Process
}

// Start starts a server for the test, which ends with it and has what
// [Require] requires. A test that fails shows the end of the server's log.
func Start(t testing.TB) *Server {
	t.Helper()
	Require(t)
	s, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of the server's log:\n%s", s.LogTail())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// New is [Start] for a life of the caller's own: [Server.Close] ends it.
func New(ctx context.Context) (*Server, error) {
	i, err := find()
	if err != nil {
		return nil, err
	}
	// Not below the test's folder, which other users cannot enter.
	folder, err := os.MkdirTemp("", "vigie-postgres-")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	s := &Server{installation: i, folder: folder}
	if s.address, err = testproc.FreeAddress(); err == nil {
		err = errors.Join(s.initialise(ctx), s.Restart(ctx))
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Restart starts a server that was killed or stopped, with the same port and
// data, and returns when it answers.
func (s *Server) Restart(ctx context.Context) error {
	log, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open server's log: %w", err)
	}
	defer func() { _ = log.Close() }() // the process has a handle of its own
	s.process, err = testproc.Start(testproc.Spec{
		Path: filepath.Join(s.bin, "postgres"), Args: s.arguments(), Dir: s.folder, Stdout: log, Stderr: log, Credential: s.credential,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		if !s.process.Running() || lifecycle.Sleep(ctx, poll) != nil {
			s.Kill()
			return fmt.Errorf("start server: %w\n%s", err, s.LogTail())
		}
	}
}

// Kill ends the server as a crash does: connections break, and its next start
// recovers from the log.
func (s *Server) Kill() { s.end(syscall.SIGQUIT) }

// Stop ends the server as its operator would in a hurry: connections are told.
func (s *Server) Stop() { s.end(syscall.SIGINT) }

func (s *Server) end(signal syscall.Signal) {
	if s.process == nil {
		return
	}
	_ = s.process.Thaw()
	_ = s.process.Signal(signal) // it may have ended by itself
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-s.process.Done():
	case <-timer.C:
		s.process.Kill()
	}
}

// Close ends the server and removes its folder.
func (s *Server) Close() error {
	s.Kill()
	if err := os.RemoveAll(s.folder); err != nil {
		return fmt.Errorf("remove server: %w", err)
	}
	return nil
}

// LogTail is the end of the server's log.
func (s *Server) LogTail() string { return testproc.Tail(s.path("log")) }

func (s *Server) path(name string) string { return filepath.Join(s.folder, name) }

// initialise makes an empty cluster of databases.
func (s *Server) initialise(ctx context.Context) error {
	if err := os.WriteFile(s.path("password"), []byte(Password), 0o600); err != nil {
		return fmt.Errorf("write password: %w", err)
	}
	if c := s.credential; c != nil {
		for _, path := range []string{s.folder, s.path("password")} {
			if err := os.Chown(path, int(c.Uid), int(c.Gid)); err != nil {
				return fmt.Errorf("give folder away: %w", err)
			}
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "initdb"), //nolint:gosec // our own
		"--pgdata", s.path("data"), "--username", superuser, "--pwfile", s.path("password"), "--auth", "scram-sha-256",
		"--encoding", "UTF8", "--locale", "C", "--no-sync")
	cmd.Dir = s.folder
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.credential}
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initialise server: %w\n%s", err, output)
	}
	return nil
}
