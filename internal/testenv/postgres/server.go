//go:build unix

// Package postgres runs a real PostgreSQL for tests: what several instances
// of a service do to one database shows on nothing else. The server is that of
// the system's packages, with its durability on, a password, and a folder of
// its own. Only tests use it.
//
// server.go finds, starts, freezes and ends a server; database.go makes
// databases in it, and shares one server among the tests of a package.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/vigie-dev/vigie/internal/testenv/proc"
)

const (
	startTimeout = 3 * time.Minute // a loaded machine; usual is a second
	stopTimeout  = 30 * time.Second
	superuser    = "vigie"
	// Password is the one user's. It has what a URL must encode.
	Password = "hemlig/lösen:ord@%" //nolint:gosec // of a server that tests start
)

// Server is a PostgreSQL server of a test's own.
type Server struct {
	installation
	folder  string
	address string
	process *proc.Process
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
	if s.address, err = proc.FreeAddress(); err == nil {
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
	s.process, err = proc.Start(proc.Spec{
		Name: "postgres", Path: filepath.Join(s.bin, "postgres"), Args: s.arguments(), Dir: s.folder, Stdout: log, Stderr: log, Credential: s.credential,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.process.Await(ctx, s.answers); err != nil {
		s.Kill()
		return fmt.Errorf("start server: %w\n%s", err, s.LogTail())
	}
	return nil
}

func (s *Server) answers(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// Kill ends the server as a crash does: connections break, and its next start
// recovers from the log.
func (s *Server) Kill() { s.end(syscall.SIGQUIT) }

// Stop ends the server as its operator would in a hurry: it ends its connections by itself.
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
func (s *Server) LogTail() string { return proc.Tail(s.path("log")) }

func (s *Server) path(name string) string { return filepath.Join(s.folder, name) }

// arguments are the server's. Its durability stays on, as it is delivered:
// what is tested is what survives.
func (s *Server) arguments() []string {
	host, port, _ := net.SplitHostPort(s.address) // ours
	return []string{
		"-D", s.path("data"), "-p", port, "-c", "listen_addresses=" + host, "-c", "unix_socket_directories=",
		"-c", "shared_buffers=64MB", "-c", "max_connections=200", "-c", "log_min_messages=warning", "-c", "deadlock_timeout=200ms",
	}
}

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

// Freeze has the server stand still with its connections open, until
// [Server.Thaw]. It works on Linux.
func (s *Server) Freeze() error {
	// The one that takes connections first: it starts no more.
	if err := s.process.Freeze(); err != nil {
		return err
	}
	return s.signalChildren(syscall.SIGSTOP)
}

// Thaw has a frozen server go on.
func (s *Server) Thaw() error {
	return errors.Join(s.signalChildren(syscall.SIGCONT), s.process.Thaw())
}

// signalChildren signals the processes that the server has for its connections
// and for itself.
func (s *Server) signalChildren(signal syscall.Signal) error {
	pid := s.process.ID()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return fmt.Errorf("look for the server's processes: %w", err)
	}
	for field := range strings.FieldsSeq(string(text)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			return fmt.Errorf("look for the server's processes: %w", err)
		}
		if err := syscall.Kill(child, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("send %v to process %d: %w", signal, child, err)
		}
	}
	return nil
}

// installation is where the programs are and the user they run as.
type installation struct {
	bin        string
	credential *syscall.Credential // nil: the test's own user
}

// Require skips a test where there is no PostgreSQL, or fails it in continuous
// integration.
func Require(t testing.TB) {
	t.Helper()
	_, err := find()
	proc.Check(t, err)
}

// find looks for a server where Debian and its kin put theirs, newest first,
// and then in the PATH.
func find() (installation, error) {
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is valid
	slices.SortFunc(folders, func(a, b string) int { return release(b) - release(a) })
	if path, err := exec.LookPath("postgres"); err == nil {
		folders = append(folders, filepath.Dir(path))
	}
	for _, bin := range folders {
		if _, err := os.Stat(filepath.Join(bin, "initdb")); err == nil {
			credential, err := whom()
			return installation{bin: bin, credential: credential}, err
		}
	}
	return installation{}, fmt.Errorf("%w: no postgres in /usr/lib/postgresql/*/bin or the PATH (Debian's package is postgresql)", proc.ErrMissing)
}

// release is the major release in a folder's name, /usr/lib/postgresql/17/bin.
func release(bin string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin))) // 0 for what is no number
	return n
}

// whom returns an unprivileged user where the test runs as root, as whom the
// server refuses to run.
func whom() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // no credential is needed
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, badUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, badGID := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(badUID, badGID); err != nil {
			return nil, fmt.Errorf("read user %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("%w: it does not run as root, and there is no user postgres or nobody", proc.ErrMissing)
}
