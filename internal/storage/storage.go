// Package storage keeps a service's state, so that what a service knows, what
// it still has to publish and how far it has read change together or not at
// all. It is the truth that offsets in Kafka follow.
//
// Each service has one SQLite file of its own, open in one process at a time,
// or one schema of a PostgreSQL database, which several instances share. All
// SQL is one text for both: parameters like $1, BIGINT microseconds for times,
// natural keys in place of sequences.
//
// Its files: storage.go opens, locks and closes a storage; sqlite.go and
// postgres.go do that for one kind of database each, and engine.go says how
// the two differ afterwards; clear.go empties a file all or nothing. read.go reads, from an open storage or beside a
// service that runs; tx.go changes, and retries what met another's change; together.go
// has changes that come at the same time share a transaction; bulk.go is for many rows. health.go says what errors of the database mean, and
// whether it takes writes; clock.go keeps a time that no clock can set, and
// removes what is old by it.
// delivery.go keeps what the delivery loop needs:
// positions, the outbox, and the stamp of the cluster they belong to.
package storage

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

// Errors that a caller distinguishes.
var (
	// ErrInUse: another process has the service's storage open.
	ErrInUse = errors.New("storage is in use by another process")
	// ErrNotWritable: the folder cannot be created or written.
	ErrNotWritable = errors.New("storage folder cannot be written")
	// ErrUnsupportedURL: DATABASE_URL names no storage that exists.
	ErrUnsupportedURL = errors.New("unsupported DATABASE_URL")
	// ErrUnreachable: the database does not answer, or refuses the connection.
	ErrUnreachable = errors.New("database cannot be used")
	// ErrMissing: the service has no storage there. It has never run with this
	// setting, or somebody moved its file.
	ErrMissing = errors.New("storage is not there")
	// ErrDamaged: what the database reads is not what it wrote. No try can fix
	// it: a copy has to take its place, or it is made again from the topics.
	ErrDamaged = errors.New("database is damaged")
	// ErrOutOfRange: the database cannot hold a value. No try can store it.
	ErrOutOfRange = errors.New("value that the database cannot hold")
	// ErrClosed: the storage has been closed.
	ErrClosed = errors.New("storage is closed")
)

// backend is the place that a DATABASE_URL names: another kind of database is
// another implementation, and a case in [parseURL].
type backend interface {
	open(ctx context.Context, service string, migrations fs.FS, o options) (*Store, error)
	openReadOnly(ctx context.Context, service string) (*Reader, error)
	lock(ctx context.Context, service string) (serviceLock, error)
}

func parseURL(databaseURL string) (backend, error) {
	if isPostgres(databaseURL) {
		return parsePostgres(databaseURL)
	}
	return parseSQLite(databaseURL)
}

// Redacted returns a DATABASE_URL as it can be shown: without a password.
func Redacted(databaseURL string) string {
	if !isPostgres(databaseURL) {
		return databaseURL
	}
	u, err := url.Parse(databaseURL)
	if err != nil {
		return "postgres://…"
	}
	return (&url.URL{Scheme: "postgres", Host: u.Host, Path: u.Path}).String()
}

func isPostgres(databaseURL string) bool {
	return strings.HasPrefix(databaseURL, "postgres://") || strings.HasPrefix(databaseURL, "postgresql://")
}

// Store is one service's storage. Its methods are safe for concurrent use.
// Reads see the last commit. With SQLite writes go one after the other; with
// PostgreSQL those that change different rows go side by side.
type Store struct {
	engine      engine
	name        string                      // the database, as errors name it
	write, read *sql.DB                     // one and the same with PostgreSQL
	look        func(context.Context) error // reads a file's pages from the disk; nil: a server looks after them
	unlock      func() error                // gives back what was locked to open the storage
	statements  sync.Map                    // statementKey → *sql.Stmt, bounded by the SQL in the code
	commits     atomic.Int64
	took        func(time.Duration) // of each update; nil: nobody wants to know
	together    *together           // of a file's changes

	health health
	clock  clock

	mu       sync.Mutex // guards closed, and that no transaction begins after it
	closed   bool
	underWay sync.WaitGroup // transactions
}

// Option says more about how to open a storage.
type Option func(*options)

type options struct {
	connections int
	alone       bool
	clocks      Clocks
	took        func(time.Duration)
}

// MaxConnections bounds the connections to a PostgreSQL server; below 1 stands
// for [DefaultConnections]. SQLite's are few and fixed.
func MaxConnections(n int) Option { return func(o *options) { o.connections = n } }

// OnUpdate has each [Store.Update] tell how long it took, its wait for others and for a
// connection included, whatever came of it.
func OnUpdate(took func(time.Duration)) Option { return func(o *options) { o.took = took } }

// Alone opens the storage for maintenance: [ErrInUse] where an instance of the
// service runs, and none starts meanwhile. With SQLite it is always so.
func Alone() Option { return func(o *options) { o.alone = true } }

// Open opens the storage of one service and brings its schema up to date: first
// this package's own tables, then the service's migrations (files named
// NNNNN_what.sql in goose's format). The URL is sqlite:FOLDER, whose lock is
// taken, or postgres://….
func Open(ctx context.Context, databaseURL, service string, migrations fs.FS, opts ...Option) (*Store, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	at, err := parseURL(databaseURL)
	if err != nil {
		return nil, err
	}
	s, err := at.open(ctx, service, migrations, o)
	if err != nil {
		return nil, err
	}
	s.took = o.took
	if err := s.openClock(ctx, o.clocks); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// begin counts a transaction, so that a close lets it end. It returns
// [ErrClosed] once the storage closes; s.underWay.Done has to follow otherwise.
func (s *Store) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.underWay.Add(1)
	return nil
}

// Close gives the storage back. Transactions under way end first.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.underWay.Wait()
	errs := []error{}
	s.statements.Range(func(_, st any) bool {
		errs = append(errs, st.(*sql.Stmt).Close())
		return true
	})
	errs = append(errs, s.write.Close())
	if s.read != s.write {
		errs = append(errs, s.read.Close())
	}
	return errors.Join(append(errs, s.unlock())...)
}

// Shared says whether several instances of the service can have the storage
// open, over connections of a [Store.Pool].
func (s *Store) Shared() bool { return s.engine == enginePostgres }

// Commits is how many transactions this instance has committed so far, each of
// which has waited for the disk.
func (s *Store) Commits() int64 { return s.commits.Load() }

// Pool returns the state of the connections to a database server.
func (s *Store) Pool() sql.DBStats { return s.write.Stats() }

// withoutAddress leaves out the user and the address of a connection.
func withoutAddress(err error) error {
	if e, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return fmt.Errorf("%w: %w", ErrUnreachable, e.Unwrap())
	}
	return err
}

// Locked are the storages of services that cannot start meanwhile.
type Locked struct {
	locks []serviceLock
}

// serviceLock keeps one service from opening its storage.
type serviceLock interface {
	// clear removes what the service has stored, all or nothing, whatever crashes.
	clear(ctx context.Context) error
	unlock() error
}

// Lock locks several services' storages, so that they can be cleared. It
// returns [ErrInUse], and locks none, where one of them is in use.
func Lock(ctx context.Context, databaseURL string, services ...string) (*Locked, error) {
	at, err := parseURL(databaseURL)
	if err != nil {
		return nil, err
	}
	l := &Locked{}
	for _, service := range services {
		lock, err := at.lock(ctx, service)
		if err != nil {
			return nil, errors.Join(err, l.Unlock())
		}
		l.locks = append(l.locks, lock)
	}
	return l, nil
}

// Clear removes what the services have stored.
func (l *Locked) Clear(ctx context.Context) error {
	for _, lock := range l.locks {
		if err := lock.clear(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Unlock lets the services start again.
func (l *Locked) Unlock() error {
	var errs []error
	for _, lock := range l.locks {
		errs = append(errs, lock.unlock())
	}
	l.locks = nil
	return errors.Join(errs...)
}

//go:embed migrations/*.sql
var deliveryMigrations embed.FS

// migrate applies what is missing; nobody else migrates the service meanwhile.
// This package's tables and the service's have a version history each, so that
// either can grow without the other.
func migrate(ctx context.Context, db *sql.DB, dialect database.Dialect, service string, migrations fs.FS) error {
	own, err := fs.Sub(deliveryMigrations, "migrations")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if err := applyMigrations(ctx, db, dialect, "delivery_version", own); err != nil {
		return fmt.Errorf("migrate delivery tables of %s: %w", service, err)
	}
	if migrations == nil {
		return nil
	}
	if err := applyMigrations(ctx, db, dialect, "service_version", migrations); err != nil {
		return fmt.Errorf("migrate tables of %s: %w", service, err)
	}
	return nil
}

func applyMigrations(ctx context.Context, db *sql.DB, dialect database.Dialect, versions string, migrations fs.FS) error {
	provider, err := goose.NewProvider(dialect, db, migrations,
		goose.WithTableName(versions), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}
