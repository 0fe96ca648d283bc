package storage

import (
	"context"
	"database/sql"
	"fmt"
)

// statementKey names a prepared statement: each belongs to one pool.
type statementKey struct {
	db    *sql.DB
	query string
}

// Query reads outside any transaction. The query text must be a constant of
// the code: its prepared form is kept.
func (s *Store) Query(ctx context.Context, query string, args ...any) (*Rows, error) {
	ctx, cancel := s.engine.limit(ctx)
	rows, err := s.query(ctx, query, args) //nolint:rowserrcheck // the caller that reads them checks
	if err != nil {
		cancel()
		return nil, s.noted(err)
	}
	return &Rows{Rows: rows, store: s, cancel: cancel}, nil
}

// query has SQLite's statements prepared here; PostgreSQL's driver keeps its
// own by itself.
func (s *Store) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	if s.engine == enginePostgres {
		return s.read.QueryContext(ctx, query, s.engine.bind(args)...)
	}
	st, err := s.prepareOnce(ctx, s.read, query) //nolint:sqlclosecheck // kept for the next, and closed with the storage
	if err != nil {
		return nil, err
	}
	return st.QueryContext(ctx, args...)
}

// QueryRow is [Store.Query] for one row.
func (s *Store) QueryRow(ctx context.Context, query string, args ...any) Row {
	ctx, cancel := s.engine.limit(ctx)
	if s.engine == enginePostgres {
		return Row{row: s.read.QueryRowContext(ctx, query, s.engine.bind(args)...), store: s, cancel: cancel}
	}
	st, err := s.prepareOnce(ctx, s.read, query) //nolint:sqlclosecheck // kept for the next, and closed with the storage
	if err != nil {
		return Row{err: err, store: s, cancel: cancel}
	}
	return Row{row: st.QueryRowContext(ctx, args...), store: s, cancel: cancel}
}

func (s *Store) prepareOnce(ctx context.Context, db *sql.DB, query string) (*sql.Stmt, error) {
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

// Rows is the result of a query outside any transaction. It has to be closed.
type Rows struct {
	*sql.Rows
	store  *Store
	cancel context.CancelFunc
}

// Err returns what ended the reading before its end.
func (r *Rows) Err() error { return r.store.noted(r.Rows.Err()) }

// Close ends the reading.
func (r *Rows) Close() error {
	defer r.cancel()
	return r.Rows.Close()
}

// Row is the result of a query for one row, which has to be scanned.
type Row struct {
	row    *sql.Row
	err    error
	store  *Store
	cancel context.CancelFunc
}

// Scan copies the row's columns; sql.ErrNoRows says that there is none.
func (r Row) Scan(dest ...any) error {
	defer r.cancel()
	if r.err != nil {
		return r.store.noted(r.err)
	}
	return r.store.noted(r.row.Scan(dest...))
}

// Reader reads one service's storage, whether the service runs or not. It
// takes no lock of the service's and changes no state; SQLite may leave its
// own empty bookkeeping files (-shm, -wal) beside the database.
type Reader struct {
	db        *sql.DB
	name      string // in errors
	isolation sql.IsolationLevel
}

// OpenReadOnly opens the storage of a service for reading. It returns
// [ErrMissing] where there is none, and creates nothing.
func OpenReadOnly(ctx context.Context, databaseURL, service string) (*Reader, error) {
	at, err := parseURL(databaseURL)
	if err != nil {
		return nil, err
	}
	return at.openReadOnly(ctx, service)
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

// QueryRow is [Snapshot.Query] for one row.
func (s *Snapshot) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return s.tx.QueryRowContext(ctx, query, args...)
}

func (s *Snapshot) each(ctx context.Context, query string, scan func(*sql.Rows) error) error {
	rows, err := s.Query(ctx, query)
	if err != nil {
		return err
	}
	return each(rows, scan)
}

// each gives every row to scan and closes the rows.
func each(rows *sql.Rows, scan func(*sql.Rows) error) error {
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
