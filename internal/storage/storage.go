// Package storage keeps a service's state, so that what a service knows, what
// it still has to publish and how far it has read change together or not at
// all. It is the truth that offsets in Kafka follow.
//
// Each service has one SQLite file of its own, held by one process at a time,
// or one schema of a PostgreSQL database, which several instances share. All
// SQL is one text for both: numbered parameters, BIGINT microseconds for times,
// natural keys in place of sequences.
package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"sync"
)

// Errors that a caller tells apart.
var (
	// ErrInUse: another process holds the service's storage.
	ErrInUse = errors.New("storage is in use by another process")
	// ErrNotWritable: the folder cannot be created or written.
	ErrNotWritable = errors.New("storage folder cannot be written")
	// ErrUnsupportedURL: DATABASE_URL names no storage that exists.
	ErrUnsupportedURL = errors.New("unsupported DATABASE_URL")
	// ErrUnreachable: the database does not answer, or lets nobody in.
	ErrUnreachable = errors.New("database cannot be used")
)

// Store is one service's storage. Its methods are safe for concurrent use.
// Reads see the last commit. With SQLite writes go one after the other; with
// PostgreSQL those that change different rows go side by side.
type Store struct {
	engine      engine
	write, read *sql.DB // one and the same with PostgreSQL
	gate        *gate
	release     func() error // gives back what was taken to open the storage
	statements  sync.Map     // statementKey → *sql.Stmt, bounded by the SQL in the code
}

type statementKey struct {
	db    *sql.DB
	query string
}

// Option says more about how to open a storage.
type Option func(*options)

type options struct {
	connections int
	alone       bool
}

// MaxConnections bounds the connections to a PostgreSQL server; below 1 stands
// for [DefaultConnections]. SQLite's are few and fixed.
func MaxConnections(n int) Option { return func(o *options) { o.connections = n } }

// Alone opens the storage for maintenance: [ErrInUse] where an instance of the
// service runs, and none starts meanwhile. With SQLite it is always so.
func Alone() Option { return func(o *options) { o.alone = true } }

// Open opens the storage of one service and brings its schema up to date: first
// this package's own tables, then the service's migrations (files named
// NNNNN_what.sql in goose's format). The URL is sqlite:FOLDER, whose lock is
// taken, or postgres://….
func Open(ctx context.Context, url, service string, migrations fs.FS, opts ...Option) (*Store, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if isPostgres(url) {
		return openPostgres(ctx, url, service, migrations, o)
	}
	folder, err := sqliteFolder(url)
	if err != nil {
		return nil, err
	}
	s, err := openSQLite(folder, service)
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, s.write, s.engine.dialect, service, migrations); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close gives the storage back. Transactions under way end first.
func (s *Store) Close() error {
	s.gate.close()
	errs := []error{}
	s.statements.Range(func(_, st any) bool {
		errs = append(errs, st.(*sql.Stmt).Close())
		return true
	})
	errs = append(errs, s.write.Close())
	if s.read != s.write {
		errs = append(errs, s.read.Close())
	}
	return errors.Join(append(errs, s.release())...)
}

// Shared says whether several instances of the service can have the storage
// open, over connections of a [Store.Pool].
func (s *Store) Shared() bool { return s.engine.numbered }

// Pool returns the state of the connections to a database server.
func (s *Store) Pool() sql.DBStats { return s.write.Stats() }

// Ping says whether the storage answers.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	if err := s.QueryRow(ctx, "SELECT 1").Scan(&one); err != nil {
		return fmt.Errorf("ping storage: %w", reason(err))
	}
	return nil
}

// Query reads outside any transaction. The query text must be a constant of
// the code: its prepared form is kept.
func (s *Store) Query(ctx context.Context, query string, args ...any) (*Rows, error) {
	ctx, cancel := s.engine.limit(ctx)
	rows, err := s.query(ctx, query, args) //nolint:rowserrcheck // whoever reads them asks
	if err != nil {
		cancel()
		return nil, err
	}
	return &Rows{Rows: rows, cancel: cancel}, nil
}

func (s *Store) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	if s.engine.numbered {
		return s.read.QueryContext(ctx, query, s.engine.bind(args)...)
	}
	st, err := s.prepared(ctx, s.read, query)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(ctx, args...)
}

// QueryRow is [Store.Query] for one row.
func (s *Store) QueryRow(ctx context.Context, query string, args ...any) Row {
	ctx, cancel := s.engine.limit(ctx)
	if s.engine.numbered {
		return Row{row: s.read.QueryRowContext(ctx, query, s.engine.bind(args)...), cancel: cancel}
	}
	st, err := s.prepared(ctx, s.read, query)
	if err != nil {
		return Row{err: err, cancel: cancel}
	}
	return Row{row: st.QueryRowContext(ctx, args...), cancel: cancel}
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
