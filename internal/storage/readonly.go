package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/vigie-dev/vigie/internal/record"
)

// ErrMissing: the service has no storage there. It has never run with this
// setting, or somebody moved its file.
var ErrMissing = errors.New("storage is not there")

// readOnlyPragmas keep whoever only looks from changing anything: the file is
// opened for reading, and statements that write are refused.
const readOnlyPragmas = "mode=ro&_pragma=busy_timeout(5000)&_pragma=query_only(1)"

const (
	selectPositions = `SELECT topic, partition, next_offset FROM positions`
	selectStamps    = `SELECT name, value FROM stamp ORDER BY name`
)

// Reader reads one service's storage, whether the service runs or not. It
// takes no lock of the service's and changes no state; SQLite may leave its
// own empty bookkeeping files (-shm, -wal) beside the database.
type Reader struct {
	db        *sql.DB
	name      string // in errors
	isolation sql.IsolationLevel
}

// OpenReadOnly opens the storage of a service for reading. It answers
// [ErrMissing] where there is none, and creates nothing.
func OpenReadOnly(ctx context.Context, databaseURL, service string) (*Reader, error) {
	if isPostgres(databaseURL) {
		return readPostgres(ctx, databaseURL, service)
	}
	folder, err := sqliteFolder(databaseURL)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(folder, service, service+".db")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s has no file %s", ErrMissing, service, path)
	} else if err != nil {
		return nil, fmt.Errorf("look for storage of %s: %w", service, err)
	}
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: readOnlyPragmas}).String()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
	}
	return &Reader{db: db, name: path}, nil
}

// Close ends the reading.
func (r *Reader) Close() error { return r.db.Close() }

// Snapshot gives read a view in which everything is of one moment, however
// much a running service writes meanwhile.
func (r *Reader) Snapshot(ctx context.Context, read func(*Snapshot) error) error {
	tx, err := r.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: r.isolation})
	if err != nil {
		return fmt.Errorf("read %s: %w", r.name, err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was changed
	return read(&Snapshot{tx: tx})
}

// Snapshot is a service's state at one moment. It is used by one goroutine
// and ends with the function given to [Reader.Snapshot].
type Snapshot struct{ tx *sql.Tx }

// Query reads rows.
func (s *Snapshot) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return s.tx.QueryContext(ctx, query, args...)
}

// Positions returns the next offset to process of every partition that the
// service has begun to read.
func (s *Snapshot) Positions(ctx context.Context) (map[record.Partition]int64, error) {
	rows, err := s.Query(ctx, selectPositions)
	if err != nil {
		return nil, fmt.Errorf("read positions: %w", err)
	}
	defer func() { _ = rows.Close() }()
	out := map[record.Partition]int64{}
	for rows.Next() {
		var p record.Partition
		var next int64
		if err := rows.Scan(&p.Topic, &p.ID, &next); err != nil {
			return nil, fmt.Errorf("read positions: %w", err)
		}
		out[p] = next
	}
	return out, rows.Err()
}

// Pending returns everything in the outbox, oldest first within a partition.
func (s *Snapshot) Pending(ctx context.Context) ([]Pending, error) {
	rows, err := s.Query(ctx, selectAllOutbox)
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	return scanPending(rows)
}

// CheckStamp answers [ErrForeign] where the storage belongs to another cluster
// or to other topics than the identities say. Unlike [Store.Stamp] it binds
// nothing.
func (s *Snapshot) CheckStamp(ctx context.Context, identities map[string]string) error {
	rows, err := s.Query(ctx, selectStamps)
	if err != nil {
		return fmt.Errorf("read stamp: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name, stored string
		if err := rows.Scan(&name, &stored); err != nil {
			return fmt.Errorf("read stamp: %w", err)
		}
		if now, ok := identities[name]; ok && now != stored {
			return fmt.Errorf("%w: %s is %s, the storage was made for %s", ErrForeign, name, now, stored)
		}
	}
	return rows.Err()
}
