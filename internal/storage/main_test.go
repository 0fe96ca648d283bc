package storage_test

import (
	"context"
	"database/sql"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	testpostgres "github.com/vigie-dev/vigie/internal/testenv/postgres"
)

const (
	insertNote = `INSERT INTO notes (id, body) VALUES ($1, $2)`
	countNotes = `SELECT COUNT(*) FROM notes`
)

const (
	addLeft   = `UPDATE pair SET value = value + $1 WHERE side = 'left'`
	addRight  = `UPDATE pair SET value = value + $1 WHERE side = 'right'`
	readPair  = `SELECT l.value, r.value FROM pair l, pair r WHERE l.side = 'left' AND r.side = 'right'`
	readLeft  = `SELECT value FROM pair WHERE side = 'left'`
	writeLeft = `UPDATE pair SET value = $1 WHERE side = 'left'`
)

// postgres is the server of all tests here, where there is one.
var postgres testpostgres.Shared

func TestMain(m *testing.M) { leaks.Main(postgres.Around(m)) }

// maker gives the URL of an empty storage.
type maker = func(testing.TB) string

func onEach(t *testing.T, test func(t *testing.T, empty maker)) {
	t.Helper()
	postgres.OnEach(t, test)
}

func sqliteIn(t testing.TB) string { return "sqlite:" + t.TempDir() }

// notes is the schema of a service that these tests make up.
func notes() fs.FS {
	return fstest.MapFS{"00001_notes.sql": {Data: []byte(`-- +goose Up
CREATE TABLE notes (id BIGINT NOT NULL PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE pair (side TEXT NOT NULL PRIMARY KEY, value BIGINT NOT NULL);
INSERT INTO pair (side, value) VALUES ('left', 0), ('right', 0);
-- +goose Down
DROP TABLE pair;
DROP TABLE notes;
`)}}
}

func orders() record.Partition { return record.Partition{Topic: "orders.created", ID: 1} }

// reopen opens the storage at a URL; the caller closes it.
func reopen(t *testing.T, url string) *storage.Store {
	t.Helper()
	s, err := storage.Open(t.Context(), url, "clerk", notes())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// open opens an empty storage until the test ends.
func open(t *testing.T, empty maker) *storage.Store {
	t.Helper()
	s := reopen(t, empty(t))
	t.Cleanup(func() { closed(t, s) })
	return s
}

func closed(t *testing.T, s *storage.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func update(t *testing.T, s *storage.Store, change func(context.Context, *storage.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), func(tx *storage.Tx) error { return change(t.Context(), tx) }); err != nil {
		t.Fatal(err)
	}
}

func note(ctx context.Context, tx *storage.Tx, id int, body string) error {
	_, err := tx.Exec(ctx, insertNote, id, body)
	return err
}

func number(t *testing.T, s *storage.Store, query string) int {
	t.Helper()
	var n int
	if err := s.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func position(t *testing.T, s *storage.Store, p record.Partition) (next int64, known bool) {
	t.Helper()
	next, known, err := s.Position(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return next, known
}

func openIn(t *testing.T, url string) *storage.Store {
	t.Helper()
	s := reopen(t, url)
	t.Cleanup(func() { closed(t, s) })
	return s
}

func scanInto(dest ...any) func(*sql.Rows) error {
	return func(rows *sql.Rows) error { return rows.Scan(dest...) }
}
