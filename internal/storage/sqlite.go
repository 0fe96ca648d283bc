package storage

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
	_ "modernc.org/sqlite" // the driver in pure Go: a fresh machine has no C compiler
)

const (
	scheme = "sqlite:"
	// readers is how many queries may read beside the one writer.
	readers = 4
	// synchronous(FULL): a decision that was published must not be forgotten
	// by a power cut, or it would be taken again. WAL keeps readers apart
	// from the writer; immediate transactions never fail half-way for a lock.
	pragmas = "_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)" +
		"&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)"
)

// sqliteFolder takes the folder out of a DATABASE_URL of the form
// sqlite:FOLDER.
func sqliteFolder(databaseURL string) (string, error) {
	folder, ok := strings.CutPrefix(databaseURL, scheme)
	if !ok || folder == "" {
		return "", fmt.Errorf("%w: want sqlite:FOLDER or %s", ErrUnsupportedURL, wantPostgres)
	}
	return folder, nil
}

func openSQLite(folder, service string) (*Store, error) {
	dir := filepath.Join(folder, service)
	lock, err := LockFolder(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, service+".db")
	write, err := openDB(path, 1)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	read, err := openDB(path, readers)
	if err != nil {
		return nil, errors.Join(err, write.Close(), lock.Close())
	}
	return &Store{engine: sqliteEngine(), write: write, read: read, gate: newGate(), release: lock.Close}, nil
}

func openDB(path string, connections int) (*sql.DB, error) {
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
// process at the latest. It answers [ErrInUse] where another process, or
// another part of this one, holds it, and [ErrNotWritable] where the folder
// or its lock file cannot be made.
func LockFolder(dir string) (*flock.Flock, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotWritable, err)
	}
	lock := flock.New(filepath.Join(dir, "lock"))
	held, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotWritable, err)
	}
	if !held {
		return nil, fmt.Errorf("%w: %s", ErrInUse, dir)
	}
	return lock, nil
}
