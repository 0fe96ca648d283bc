package storage

import (
	"context"
	"database/sql"
	"fmt"
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
	return inBulk(rows, func(chunk [][]any) error {
		text, args := expandRows(query, chunk)
		_, err := t.Exec(ctx, text, args...)
		return err
	})
}

// InsertRowsReturning is [Tx.InsertRows] for a query that returns rows, each of
// which is given to scan.
func (t *Tx) InsertRowsReturning(ctx context.Context, query string, rows [][]any, scan func(*sql.Rows) error) error {
	return inBulk(rows, func(chunk [][]any) error {
		text, args := expandRows(query, chunk)
		return t.queryEach(ctx, text, args, scan)
	})
}

// SelectKeys reads the rows of many keys in few statements, as the transaction
// sees them. The query has $rows where the keys go: … WHERE id IN $rows.
func (t *Tx) SelectKeys(ctx context.Context, query string, keys []string, scan func(*sql.Rows) error) error {
	return inBulk(keys, func(chunk []string) error {
		text, args := expandKeys(query, chunk)
		return t.queryEach(ctx, text, args, scan)
	})
}

// SelectKeys is [Tx.SelectKeys] outside any transaction.
func (s *Store) SelectKeys(ctx context.Context, query string, keys []string, scan func(*sql.Rows) error) error {
	return inBulk(keys, func(chunk []string) error {
		text, args := expandKeys(query, chunk)
		rows, err := s.Query(ctx, text, args...)
		if err != nil {
			return fmt.Errorf("query %q: %w", query, err)
		}
		return each(rows, scan)
	})
}

func (t *Tx) queryEach(ctx context.Context, query string, args []any, scan func(*sql.Rows) error) error {
	st, err := t.statement(ctx, query)
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return fmt.Errorf("query: %w", err)
	}
	return each(rows, scan)
}

func each(rows *sql.Rows, scan func(*sql.Rows) error) error {
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
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

func expandRows(query string, rows [][]any) (string, []any) {
	var list strings.Builder
	args := make([]any, 0, len(rows)*len(rows[0]))
	for i, row := range rows {
		if i > 0 {
			list.WriteString(", ")
		}
		writeParameters(&list, len(row))
		args = append(args, row...)
	}
	return strings.Replace(query, rowsPlaceholder, list.String(), 1), args
}

func expandKeys(query string, keys []string) (string, []any) {
	var list strings.Builder
	writeParameters(&list, len(keys))
	args := make([]any, len(keys))
	for i, key := range keys {
		args[i] = key
	}
	return strings.Replace(query, rowsPlaceholder, list.String(), 1), args
}

// writeParameters writes (?, ?, …). Parameters with a name, which $1 is to
// SQLite, would be looked for in a list of all names, each from its start: half
// the time of a statement with hundreds of them.
func writeParameters(b *strings.Builder, n int) {
	b.WriteByte('(')
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('?')
	}
	b.WriteByte(')')
}
