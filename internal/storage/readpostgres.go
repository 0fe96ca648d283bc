package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/stdlib"
)

const positionsExist = `SELECT EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = 'positions')`

// readPostgres is [OpenReadOnly] for a schema. What it reads may be much, so
// that nothing bounds its time but the caller's context.
func readPostgres(ctx context.Context, databaseURL, service string) (*Reader, error) {
	cfg, err := parsePostgres(databaseURL)
	if err != nil {
		return nil, err
	}
	session := sessions(cfg, service, map[string]string{"statement_timeout": "0"})
	session.RuntimeParams["application_name"] = "vigie-read/" + service
	session.RuntimeParams["default_transaction_read_only"] = "on"
	db := stdlib.OpenDB(*session)
	db.SetMaxOpenConns(1)
	var there bool
	if err := db.QueryRowContext(ctx, positionsExist, service).Scan(&there); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrUnreachable, err), db.Close())
	}
	if !there {
		return nil, errors.Join(fmt.Errorf("%w: %s has no tables in %s", ErrMissing, service, Redacted(databaseURL)), db.Close())
	}
	return &Reader{db: db, name: "schema " + service, isolation: sql.LevelRepeatableRead}, nil
}
