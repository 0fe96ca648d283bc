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
	tx         *sql.Tx
	store      *Store
	unprepared []string // queries to prepare when the transaction has ended
}

// Update runs change in one transaction: all of it is stored, durably, when
// Update returns nil, and nothing of it otherwise.
func (s *Store) Update(ctx context.Context, change func(*Tx) error) error {
	t := &Tx{store: s}
	if err := s.transact(ctx, t, change); err != nil {
		return err
	}
	for _, query := range t.unprepared {
		// The change is stored: what cannot be prepared now, the next
		// transaction tries again.
		_, _ = s.prepared(ctx, s.write, query)
	}
	return nil
}

func (s *Store) transact(ctx context.Context, t *Tx, change func(*Tx) error) (err error) {
	if t.tx, err = s.write.BeginTx(ctx, nil); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer func() { _ = t.tx.Rollback() }() // after a commit this does nothing
	if err := change(t); err != nil {
		return err
	}
	if err := t.tx.Commit(); err != nil {
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

// statement returns a prepared statement. One that is new is prepared for this
// transaction alone: the writer has one connection, which the transaction
// holds. Once it has ended, [Store.Update] prepares it for those to come.
func (t *Tx) statement(ctx context.Context, query string) (*sql.Stmt, error) {
	if st, ok := t.store.statements.Load(statementKey{t.store.write, query}); ok {
		return t.tx.StmtContext(ctx, st.(*sql.Stmt)), nil
	}
	st, err := t.tx.PrepareContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", query, err)
	}
	t.unprepared = append(t.unprepared, query)
	return st, nil
}

// IsNotFound says whether a Scan found no row.
func IsNotFound(err error) bool { return errors.Is(err, sql.ErrNoRows) }
