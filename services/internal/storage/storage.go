// Package storage keeps a service's state, so that what a service knows, what
// it still has to publish and how far it has read change together or not at
// all. It is the truth that offsets in Kafka follow.
//
// Each service has one SQLite file of its own, held by one process at a time.
// All SQL is written so that PostgreSQL takes it too: numbered parameters,
// BIGINT microseconds for times, natural keys in place of sequences.
package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/gofrs/flock"
)

// Errors that a caller tells apart.
var (
	// ErrInUse: another process holds the service's storage.
	ErrInUse = errors.New("storage is in use by another process")
	// ErrNotWritable: the folder cannot be created or written.
	ErrNotWritable = errors.New("storage folder cannot be written")
	// ErrUnsupportedURL: DATABASE_URL names no storage that exists.
	ErrUnsupportedURL = errors.New("unsupported DATABASE_URL")
)

// Store is one service's storage. Its methods are safe for concurrent use:
// writes go one after the other, reads beside them see the last commit.
type Store struct {
	write, read *sql.DB
	lock        *flock.Flock
	statements  sync.Map // statementKey → *sql.Stmt, bounded by the SQL in the code
}

type statementKey struct {
	db    *sql.DB
	query string
}

// Open opens the storage of one service, takes its lock and brings its schema
// up to date: first this package's own tables, then the service's migrations
// (files named NNNNN_what.sql in goose's format).
func Open(ctx context.Context, url, service string, migrations fs.FS) (*Store, error) {
	folder, err := sqliteFolder(url)
	if err != nil {
		return nil, err
	}
	s, err := openSQLite(folder, service)
	if err != nil {
		return nil, err
	}
	if err := s.migrate(ctx, service, migrations); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close gives the storage back. Transactions under way end first.
func (s *Store) Close() error {
	errs := []error{}
	// Whoever has the one writing connection has no transaction beside it.
	writer, closed := s.write.Conn(context.Background())
	s.statements.Range(func(_, st any) bool {
		errs = append(errs, st.(*sql.Stmt).Close())
		return true
	})
	errs = append(errs, s.read.Close(), s.write.Close())
	if closed == nil {
		errs = append(errs, writer.Close()) // for good, since its pool is closed
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// Ping says whether the storage answers.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	if err := s.QueryRow(ctx, "SELECT 1").Scan(&one); err != nil {
		return fmt.Errorf("ping storage: %w", err)
	}
	return nil
}

// Query reads outside any transaction. The query text must be a constant of
// the code: its prepared form is kept.
func (s *Store) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	st, err := s.prepared(ctx, s.read, query)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(ctx, args...)
}

// QueryRow is [Store.Query] for one row.
func (s *Store) QueryRow(ctx context.Context, query string, args ...any) Row {
	st, err := s.prepared(ctx, s.read, query)
	if err != nil {
		return Row{err: err}
	}
	return Row{row: st.QueryRowContext(ctx, args...)}
}

func (s *Store) prepared(ctx context.Context, db *sql.DB, query string) (*sql.Stmt, error) {
	key := statementKey{db, query}
	if st, ok := s.statements.Load(key); ok {
		return st.(*sql.Stmt), nil
	}
	st, err := db.PrepareContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", query, err)
	}
	if first, loaded := s.statements.LoadOrStore(key, st); loaded {
		return first.(*sql.Stmt), st.Close()
	}
	return st, nil
}

// Row is the result of a query for one row.
type Row struct {
	row *sql.Row
	err error
}

// Scan copies the row's columns; sql.ErrNoRows says that there is none.
func (r Row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	return r.row.Scan(dest...)
}
