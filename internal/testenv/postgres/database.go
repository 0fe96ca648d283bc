//go:build unix

package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/vigie-dev/vigie/internal/testenv/proc"
)

// URL is the DATABASE_URL of one of the server's databases.
func (s *Server) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, Password), Host: s.address, Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Create makes an empty database and returns its DATABASE_URL.
func (s *Server) Create(ctx context.Context) (string, error) {
	name := fmt.Sprintf("d%016x", rand.Uint64()) //nolint:gosec // no secret
	if err := s.Do(ctx, "postgres", "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	return s.URL(name), nil
}

// Database is [Server.Create] for a test.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	u, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Do has a database do something.
func (s *Server) Do(ctx context.Context, database, statement string) (err error) {
	conn, err := pgx.Connect(ctx, s.URL(database))
	if err != nil {
		return fmt.Errorf("connect to server: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("have the server do %q: %w", statement, err)
	}
	return nil
}

// Shared is one server for all tests of a package: starting it takes a second,
// making a database in it a tenth. It is started when it is first asked for.
type Shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Database returns the DATABASE_URL of an empty database of the test's own.
func (s *Shared) Database(t testing.TB) string { t.Helper(); return s.Server(t).Database(t) }

// Server returns the server, which is not the test's to stop.
func (s *Shared) Server(t testing.TB) *Server {
	t.Helper()
	Require(t)
	s.once.Do(func() { s.server, s.err = New(context.Background()) })
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.server
}

// around is what [Shared.Around]
// gives to leaks.Main.
type around struct {
	shared *Shared
	tests  interface{ Run() int }
}

// Around wraps a package's tests so that the server ends after the last one,
// before goroutines are counted.
func (s *Shared) Around(tests interface{ Run() int }) interface{ Run() int } { return around{s, tests} }

// Run implements goleak.TestingM.
func (a around) Run() int {
	status := a.tests.Run()
	if a.shared.server != nil {
		if err := a.shared.server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return status
}

// OnEach runs a test on every database of the tier: on SQLite in `make test`,
// also on PostgreSQL in `make test-integration`. The test gets a function that
// gives the DATABASE_URL of an empty storage.
func (s *Shared) OnEach(t *testing.T, test func(t *testing.T, empty func(testing.TB) string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		test(t, func(t testing.TB) string { t.Helper(); return "sqlite:" + t.TempDir() })
	})
	if proc.Integration {
		t.Run("postgres", func(t *testing.T) { Require(t); test(t, s.Database) })
	}
}
