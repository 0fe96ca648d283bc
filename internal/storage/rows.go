package storage

import (
	"context"
	"database/sql"
)

// Rows is the result of a query outside any transaction. It has to be closed.
type Rows struct {
	*sql.Rows
	cancel context.CancelFunc
}

// Close ends the reading.
func (r *Rows) Close() error {
	defer r.cancel()
	return r.Rows.Close()
}

// Row is the result of a query for one row, which has to be scanned.
type Row struct {
	row    *sql.Row
	err    error
	cancel context.CancelFunc
}

// Scan copies the row's columns; sql.ErrNoRows says that there is none.
func (r Row) Scan(dest ...any) error {
	defer r.cancel()
	if r.err != nil {
		return r.err
	}
	return r.row.Scan(dest...)
}
