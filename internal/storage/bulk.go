package storage

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

// bulkSizes are how many rows or keys go into one statement. They are few, so
// that each statement's text is prepared once, and together make up any number.
func bulkSizes() [4]int { return [4]int{64, 16, 4, 1} }

// rowsPlaceholder stands in a bulk statement's text for the list of parameters.
const rowsPlaceholder = "$rows"

// InsertRows inserts many rows in few statements. The query has $rows where
// the rows' values go: INSERT INTO t (a, b) VALUES $rows.
func (t *Tx) InsertRows(ctx context.Context, query string, rows [][]any) error {
	_, err := t.InsertRowsCounting(ctx, query, rows)
	return err
}

// InsertRowsCounting is [Tx.InsertRows] for a query that may leave rows as they
// are. It returns how many rows were inserted or changed.
func (t *Tx) InsertRowsCounting(ctx context.Context, query string, rows [][]any) (changed int64, err error) {
	err = inBulk(rows, func(chunk [][]any) error {
		text, args := t.store.engine.expandRows(query, chunk)
		n, err := t.Exec(ctx, text, args...)
		changed += n
		return err
	})
	return changed, err
}

// InsertRowsReturning is [Tx.InsertRows] for a query that returns rows, each of
// which is given to scan.
func (t *Tx) InsertRowsReturning(ctx context.Context, query string, rows [][]any, scan func(*sql.Rows) error) error {
	return inBulk(rows, func(chunk [][]any) error {
		text, args := t.store.engine.expandRows(query, chunk)
		return t.QueryEach(ctx, text, args, scan)
	})
}

// SelectKeys reads the rows of many keys in few statements, as the transaction
// sees them. The query has $rows where the keys go: … WHERE id IN $rows.
func (t *Tx) SelectKeys(ctx context.Context, query string, keys []string, scan func(*sql.Rows) error) error {
	return inFull(t.store.engine.findable(keys), func(chunk []string) error {
		text, args := t.store.engine.expandKeys(query, chunk)
		return t.QueryEach(ctx, text, args, scan)
	})
}

// LockKeys is [Tx.SelectKeys] that keeps the rows it finds to this transaction
// until its end. Rows are taken in the order of the keys, so that two who take
// some of the same do not wait for each other.
func (t *Tx) LockKeys(ctx context.Context, query string, keys []string, scan func(*sql.Rows) error) error {
	if t.store.engine == engineSQLite { // its writer is alone
		return t.SelectKeys(ctx, query, keys, scan)
	}
	return t.SelectKeys(ctx, query+" FOR UPDATE", slices.Sorted(slices.Values(keys)), scan)
}

// SelectKeys is [Tx.SelectKeys] outside any transaction.
func (s *Store) SelectKeys(ctx context.Context, query string, keys []string, scan func(*sql.Rows) error) error {
	return inFull(s.engine.findable(keys), func(chunk []string) error {
		text, args := s.engine.expandKeys(query, chunk)
		rows, err := s.Query(ctx, text, args...)
		if err != nil {
			return fmt.Errorf("query %q: %w", query, err)
		}
		defer func() { _ = rows.Close() }()
		return s.noted(each(rows.Rows, scan))
	})
}

// QueryEach gives each row of a query's result to scan, as the transaction sees
// them; the query may also change rows and return them.
func (t *Tx) QueryEach(ctx context.Context, query string, args []any, scan func(*sql.Rows) error) error {
	ctx, cancel := t.store.engine.limit(ctx)
	defer cancel()
	rows, err := t.query(ctx, query, args)
	if err != nil {
		return fmt.Errorf("query: %w", err)
	}
	return each(rows, scan)
}

// inBulk cuts items into chunks of the bulk sizes.
func inBulk[T any](items []T, do func([]T) error) error {
	for _, size := range bulkSizes() {
		for len(items) >= size {
			if err := do(items[:size]); err != nil {
				return err
			}
			items = items[size:]
		}
	}
	return nil
}

// inFull cuts keys into as few chunks of the bulk sizes as can be. The last is filled
// with a key that it has: what is asked for twice is found once, and costs less than
// one more statement.
func inFull(keys []string, do func([]string) error) error {
	for len(keys) > 0 {
		size := 0
		for _, s := range bulkSizes() { // the smallest that has room for all, or the largest
			if size == 0 || s >= len(keys) {
				size = s
			}
		}
		n := min(size, len(keys))
		chunk := slices.Concat(keys[:n], slices.Repeat(keys[n-1:n], size-n))
		if err := do(chunk); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

// findable returns the keys that a row can have.
func (e engine) findable(keys []string) []string {
	lost := func(key string) bool { return !e.storable(key) }
	if !slices.ContainsFunc(keys, lost) {
		return keys
	}
	return slices.DeleteFunc(slices.Clone(keys), lost)
}

func (e engine) expandRows(query string, rows [][]any) (string, []any) {
	var list strings.Builder
	args := make([]any, 0, len(rows)*len(rows[0]))
	for i, row := range rows {
		if i > 0 {
			list.WriteString(", ")
		}
		e.writeParameters(&list, len(args), len(row))
		args = append(args, row...)
	}
	return strings.Replace(query, rowsPlaceholder, list.String(), 1), args
}

func (e engine) expandKeys(query string, keys []string) (string, []any) {
	var list strings.Builder
	e.writeParameters(&list, 0, len(keys))
	args := make([]any, len(keys))
	for i, key := range keys {
		args[i] = key
	}
	return strings.Replace(query, rowsPlaceholder, list.String(), 1), args
}
