package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/vigie-dev/vigie/internal/retry"
)

// ErrConflict: what the transaction has read, another has changed since. The
// function given to [Store.Update] returns it to be run again, on what is
// stored now.
var ErrConflict = errors.New("another transaction came in between")

// maxTries is how often a transaction that met another is tried before its
// caller gets the conflict.
const maxTries = 10

// Tx is one storage transaction. It is used by one goroutine and ends with
// the function given to [Store.Update].
//
// Of two transactions that change one row, the second waits for the first and
// then sees what it has left. What a transaction only read, another may change
// before it ends: a change that builds on what was read must name it in its
// WHERE, or take the rows with [Tx.LockKeys].
type Tx struct {
	tx         *sql.Tx
	store      *Store
	unprepared []string // queries to prepare when the transaction has ended
}

// Update runs change in one transaction: all of it is stored, durably, when
// Update returns nil, and nothing of it otherwise. An error of the commit
// itself may leave it open which; a position that is moved with [Tx.Advance]
// then shows it.
//
// Changes that wait for the same connection are stored by one transaction. One
// that fails is left out of it: the others are stored all the same.
//
// The change may be run again (it came into another's way: a deadlock,
// [ErrConflict]; or one that was to be stored with it failed), so it must not do
// anything but change the storage.
func (s *Store) Update(ctx context.Context, change func(*Tx) error) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.underWay.Done()
	if s.took != nil {
		defer func(began time.Time) { s.took(time.Since(began)) }(time.Now())
	}
	t := &Tx{store: s}
	if err := s.commit(ctx, t, change); err != nil {
		return s.noted(err)
	}
	s.health.wrote(true)
	for _, query := range t.unprepared {
		// The change is stored: what cannot be prepared now, the next
		// transaction tries again.
		_, _ = s.prepareOnce(ctx, s.write, query) //nolint:sqlclosecheck // kept, and closed with the storage
	}
	return nil
}

// commit stores a change, in one transaction with others where they wait for one
// connection. A server commits those of several connections together by itself.
func (s *Store) commit(ctx context.Context, t *Tx, change func(*Tx) error) error {
	if s.engine == engineSQLite {
		return s.together.do(ctx, s, &part{ctx: ctx, tx: t, change: change, done: make(chan struct{})})
	}
	return s.alone(ctx, t, change)
}

// alone stores a change in a transaction of its own.
func (s *Store) alone(ctx context.Context, t *Tx, change func(*Tx) error) error {
	return retryConflicts(ctx, func() error { return s.transact(ctx, t, change) })
}

func (s *Store) transact(ctx context.Context, t *Tx, change func(*Tx) error) (err error) {
	ctx, cancel := s.engine.limit(ctx)
	defer cancel()
	var how *sql.TxOptions
	if s.engine == enginePostgres {
		// Named since a server may have another default, which would fail where
		// this one waits.
		how = &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	if t.tx, err = s.write.BeginTx(ctx, how); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer func() { _ = t.tx.Rollback() }() // after a commit this does nothing
	if err := change(t); err != nil {
		return err
	}
	return s.end(t.tx)
}

// end commits and counts.
func (s *Store) end(tx *sql.Tx) error {
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	s.commits.Add(1)
	return nil
}

// retryConflicts does work, and does it again for as long as another's came in
// between. Those who met wait for different times, so that they do not meet
// again.
func retryConflicts(ctx context.Context, work func() error) error {
	conflicts := retry.Policy{First: 10 * time.Millisecond, Most: 100 * time.Millisecond, Tries: maxTries}
	return conflicts.Do(ctx, func() error {
		err := work()
		if err != nil && !isConflict(err) {
			return retry.Stop(err)
		}
		return err
	})
}

// isConflict says whether a transaction failed for no other reason than that
// another was under way beside it.
func isConflict(err error) bool {
	code := postgresCode(err)
	return errors.Is(err, ErrConflict) || code == codeSerialization || code == codeDeadlock
}

// Exec changes rows and returns how many it changed. The query text must be a
// constant of the code: its prepared form is kept.
func (t *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	ctx, cancel := t.store.engine.limit(ctx)
	defer cancel()
	res, err := t.exec(ctx, query, args)
	if err != nil {
		return 0, fmt.Errorf("execute %q: %w", query, err)
	}
	return res.RowsAffected()
}

func (t *Tx) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	if t.store.engine == enginePostgres {
		return t.tx.ExecContext(ctx, query, t.store.engine.bind(args)...)
	}
	st, err := t.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	return st.ExecContext(ctx, args...)
}

func (t *Tx) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	if t.store.engine == enginePostgres {
		return t.tx.QueryContext(ctx, query, t.store.engine.bind(args)...)
	}
	st, err := t.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(ctx, args...)
}

// QueryRow reads one row as this transaction sees it.
func (t *Tx) QueryRow(ctx context.Context, query string, args ...any) Row {
	ctx, cancel := t.store.engine.limit(ctx)
	if t.store.engine == enginePostgres {
		return Row{row: t.tx.QueryRowContext(ctx, query, t.store.engine.bind(args)...), store: t.store, cancel: cancel}
	}
	st, err := t.statement(ctx, query)
	if err != nil {
		return Row{err: err, store: t.store, cancel: cancel}
	}
	return Row{row: st.QueryRowContext(ctx, args...), store: t.store, cancel: cancel}
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
