package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/pressly/goose/v3/database"
	_ "modernc.org/sqlite" // the driver in pure Go: a fresh machine has no C compiler
)

const (
	sqliteScheme = "sqlite:"
	// sqliteReaders is how many queries may read beside the one writer.
	sqliteReaders = 4
	// synchronous(FULL): a decision that was published must not be forgotten
	// by a power cut, or it would be taken again. WAL keeps readers apart
	// from the writer; immediate transactions never fail half-way for a lock.
	sqlitePragmas = "_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)" +
		"&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)"
	// sqliteWriter: what is committed is in the log, which is synced; it goes into the
	// database's own pages when the log has 16 MiB, a page that many transactions change
	// once. The writer keeps the pages in memory that a transaction of some hundred
	// records changes, 8 MiB.
	sqliteWriter = "&_pragma=wal_autocheckpoint(4000)&_pragma=cache_size(-8192)"
	// sqliteReadOnly keeps readers from changing anything: the file is
	// opened for reading, and statements that write are refused.
	sqliteReadOnly = "mode=ro&_pragma=busy_timeout(5000)&_pragma=query_only(1)"
)

// sqliteFolder has a folder for each service, with its database and its lock.
type sqliteFolder string

// parseSQLite takes the folder out of a DATABASE_URL of the form
// sqlite:FOLDER.
func parseSQLite(databaseURL string) (backend, error) {
	folder, ok := strings.CutPrefix(databaseURL, sqliteScheme)
	if !ok || folder == "" {
		return nil, fmt.Errorf("%w: want sqlite:FOLDER or %s", ErrUnsupportedURL, wantPostgres)
	}
	return sqliteFolder(folder), nil
}

func (f sqliteFolder) path(service string) string {
	return filepath.Join(string(f), service, service+".db")
}

func (f sqliteFolder) open(ctx context.Context, service string, migrations fs.FS, _ options) (*Store, error) {
	path := f.path(service)
	lock, err := LockFolder(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if err := completeClearing(path); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	write, err := openSQLite(path, sqlitePragmas+sqliteWriter, 1)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	read, err := openSQLite(path, sqlitePragmas, sqliteReaders)
	if err != nil {
		return nil, errors.Join(err, write.Close(), lock.Close())
	}
	s := &Store{engine: engineSQLite, name: path, write: write, read: read, unlock: lock.Close, together: newTogether()}
	afresh := func() error { return checkAfresh(ctx, path) }
	err = s.noted(confirmed(func() error { return checkPages(ctx, write) }, afresh))
	if err == nil {
		err = s.noted(migrate(ctx, write, database.DialectSQLite3, service, migrations))
	}
	var opened *os.File
	if err == nil {
		opened, err = os.Open(path) //nolint:gosec // the operator's choice
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.look = func(ctx context.Context) error { return lookAt(ctx, path, opened) }
	s.unlock = sync.OnceValue(func() error { return errors.Join(opened.Close(), lock.Close()) })
	return s, nil
}

// lookAt reads the pages of an open database from the disk. What was written by
// others is damage, and so is another file in the place of the one that is open.
//
// The opened file is the storage's own, and stays open as long as SQLite has it open:
// a process that closes a file, through whichever of its handles, gives up all locks
// that it has on it. SQLite would no longer keep others from taking the log for
// theirs, and from removing it with what was committed there
// (https://www.sqlite.org/howtocorrupt.html, 2.2).
func lookAt(ctx context.Context, path string, opened *os.File) (err error) {
	if gone(path, opened) {
		return errGone
	}
	defer func() {
		if err != nil && gone(path, opened) { // while it was looked at
			err = errGone
		}
	}()
	if err := checkStarts(path, opened); err != nil {
		return err
	}
	look := func() error { return checkAfresh(ctx, path) }
	return confirmed(look, look)
}

func gone(path string, opened *os.File) bool {
	now, err := os.Stat(path)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	was, err := opened.Stat()
	return err == nil && !os.SameFile(now, was)
}

// checkStarts looks at what the database's file and its log begin with. As long
// as the log has newer pages than the file, SQLite does not read the file's own.
func checkStarts(path string, opened *os.File) error {
	if err := checkStart(io.NewSectionReader(opened, 0, math.MaxInt64), path, "SQLite format 3\x00"); err != nil {
		return err
	}
	log, err := os.Open(path + "-wal") //nolint:gosec // SQLite has no locks on this one
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the database's files: %w", err)
	}
	defer func() { _ = log.Close() }()
	return checkStart(log, log.Name(), "\x37\x7f\x06\x82", "\x37\x7f\x06\x83")
}

func checkStart(file io.Reader, name string, starts ...string) error {
	start := make([]byte, len(starts[0]))
	n, err := io.ReadFull(file, start)
	if n == 0 && errors.Is(err, io.EOF) { // it is there, and has nothing yet
		return nil
	}
	if !slices.Contains(starts, string(start)) {
		return fmt.Errorf("%w: %s does not begin as it has to", errPages, name)
	}
	return nil
}

// checkAfresh checks the pages over a connection that has none in memory.
func checkAfresh(ctx context.Context, path string) (err error) {
	db, err := openSQLite(path, sqliteReadOnly, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return checkPages(ctx, db)
}

// confirmed looks again where the first look finds damage: damage ends a service, and a
// read that failed once may be made good by the next.
func confirmed(look, again func() error) error {
	err := look()
	if faultOf(err) == faultDamaged {
		err = again()
	}
	return err
}

// checkTime bounds how long a start looks at the pages of a database: some
// gigabytes of it.
const checkTime = 10 * time.Second

// checkPages reads the database's pages before anything is built on them: what
// is damaged would else come up one day, in the middle of the work. A file that
// is too large for the time is used as far as it was read.
func checkPages(ctx context.Context, db *sql.DB) error {
	bounded, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	var found string
	err := db.QueryRowContext(bounded, "PRAGMA quick_check(1)").Scan(&found)
	switch {
	case bounded.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("check the database's pages: %w", err)
	case found != "ok":
		return fmt.Errorf("%w: %s", errPages, found)
	}
	return nil
}

var (
	errPages = errors.New("its pages are not what was written")
	errGone  = fmt.Errorf("%w: the file that is open is no longer there", errPages)
)

func (f sqliteFolder) openReadOnly(ctx context.Context, service string) (*Reader, error) {
	path := f.path(service)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) || beingCleared(path) {
		return nil, fmt.Errorf("%w: %s has no file %s", ErrMissing, service, path)
	} else if err != nil {
		return nil, fmt.Errorf("look for storage of %s: %w", service, err)
	}
	db, err := openSQLite(path, sqliteReadOnly, 1)
	if err != nil {
		return nil, err
	}
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
	}
	return &Reader{db: db, name: path}, nil
}

// HoldWrites keeps a service from writing to its storage until it is released, as any
// program does that has a transaction open on the same file. Reading goes on. Only
// SQLite has such a lock; of another database it returns [ErrUnsupportedURL].
func HoldWrites(ctx context.Context, databaseURL, service string) (release func() error, err error) {
	parsed, err := parseURL(databaseURL)
	if err != nil {
		return nil, err
	}
	folder, ok := parsed.(sqliteFolder)
	if !ok {
		return nil, fmt.Errorf("%w: only SQLite locks a whole database", ErrUnsupportedURL)
	}
	db, err := openSQLite(folder.path(service), sqlitePragmas, 1)
	if err != nil {
		return nil, err
	}
	tx, err := db.BeginTx(context.WithoutCancel(ctx), nil) // immediate: it has the lock, until it is released
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the storage of %s: %w", service, err), db.Close())
	}
	return func() error { return errors.Join(tx.Rollback(), db.Close()) }, nil
}

func openSQLite(path, pragmas string, connections int) (*sql.DB, error) {
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: pragmas}).String()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// LockFolder creates dir if needed and takes its lock, which ends with the
// process at the latest. It returns [ErrInUse] where another process, or
// another part of this one, has it, and [ErrNotWritable] where the folder
// or its lock file cannot be made.
func LockFolder(dir string) (*flock.Flock, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotWritable, err)
	}
	lock := flock.New(filepath.Join(dir, "lock"))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotWritable, err)
	}
	if !locked {
		return nil, fmt.Errorf("%w: %s", ErrInUse, dir)
	}
	return lock, nil
}

// sqliteLock is the lock of a service's folder.
type sqliteLock struct {
	path  string // of the database
	flock *flock.Flock
}

func (f sqliteFolder) lock(_ context.Context, service string) (serviceLock, error) {
	path := f.path(service)
	lock, err := LockFolder(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	return sqliteLock{path, lock}, nil
}

func (l sqliteLock) clear(context.Context) error { return clearDatabase(l.path) }

func (l sqliteLock) unlock() error { return l.flock.Close() }
