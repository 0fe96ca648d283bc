package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Tx is one storage transaction. It is used by one goroutine and ends with
// the function given to [Store.Update].
type Tx struct {
	tx    *sql.Tx
	store *Store
}

// Update runs change in one transaction: all of it is stored, durably, when
// Update returns nil, and nothing of it otherwise.
func (s *Store) Update(ctx context.Context, change func(*Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit this does nothing
	if err := change(&Tx{tx, s}); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	return nil
}

// Exec changes rows and returns how many it changed. The query text must be a
// constant of the code: its prepared form is kept.
func (t *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	st, err := t.statement(ctx, query)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(ctx, args...)
	if err != nil {
		return 0, fmt.Errorf("execute %q: %w", query, err)
	}
	return res.RowsAffected()
}

// QueryRow reads one row as this transaction sees it.
func (t *Tx) QueryRow(ctx context.Context, query string, args ...any) Row {
	st, err := t.statement(ctx, query)
	if err != nil {
		return Row{err: err}
	}
	return Row{row: st.QueryRowContext(ctx, args...)}
}

// statement prepares within the transaction: the writer has one connection,
// which the transaction holds, so preparing on the pool would wait for ever.
func (t *Tx) statement(ctx context.Context, query string) (*sql.Stmt, error) {
	if st, ok := t.store.statements.Load(statementKey{t.store.write, query}); ok {
		return t.tx.StmtContext(ctx, st.(*sql.Stmt)), nil
	}
	st, err := t.tx.PrepareContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", query, err)
	}
	return st, nil
}

// Prepare keeps the prepared forms of a service's hot statements, so that
// transactions parse them once per process. It is called before the first
// transaction.
func (s *Store) Prepare(ctx context.Context, queries ...string) error {
	for _, q := range queries {
		if _, err := s.prepared(ctx, s.write, q); err != nil {
			return err
		}
	}
	return nil
}

// IsNotFound says whether a Scan found no row.
func IsNotFound(err error) bool { return errors.Is(err, sql.ErrNoRows) }
