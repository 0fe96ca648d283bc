//go:build unix

package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"
)

// arguments are the server's. Its durability stays on, as it is delivered:
// what is tested is what survives.
func (s *Server) arguments() []string {
	host, port, _ := net.SplitHostPort(s.address) // ours
	return []string{
		"-D", s.path("data"), "-p", port, "-c", "listen_addresses=" + host, "-c", "unix_socket_directories=",
		"-c", "shared_buffers=64MB", "-c", "max_connections=200", "-c", "log_min_messages=warning", "-c", "deadlock_timeout=200ms",
	}
}

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
