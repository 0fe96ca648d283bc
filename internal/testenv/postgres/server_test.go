//go:build unix && integration

package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/vigie-dev/vigie/internal/testenv/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func TestAServerComesAndGoes(t *testing.T) {
	s := Start(t)
	url := s.Database(t)
	count := func() (n int) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(context.Background()) }()
		if _, err := conn.Exec(t.Context(), `CREATE TABLE IF NOT EXISTS t (); INSERT INTO t DEFAULT VALUES`); err != nil {
			t.Fatal(err)
		}
		if err := conn.QueryRow(t.Context(), `SELECT COUNT(*) FROM t`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for round, end := range []func(){s.Kill, s.Stop, func() {}} {
		if n := count(); n != round+1 {
			t.Errorf("round %d: %d rows are stored", round, n)
		}
		if end(); round < 2 {
			if err := s.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAFrozenServerDoesNotAnswer(t *testing.T) {
	s := Start(t)
	conn, err := pgx.Connect(t.Context(), s.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := conn.Ping(ctx); err == nil {
		t.Error("a frozen server answered")
	}
	if err := s.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := s.Do(t.Context(), "postgres", "SELECT 1"); err != nil {
		t.Error(err)
	}
}
