package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3/database"

	"github.com/vigie-dev/vigie/internal/lifecycle"
)

const (
	// startPatience is how long a start waits for a server to let it in: it
	// may be starting too.
	startPatience = 10 * time.Second
	closeTimeout  = 5 * time.Second
	// migrationWait bounds the wait for another instance's migrations.
	migrationWait = "300s"
	// lockClass is this program's part of the database's advisory locks.
	lockClass = 0x76696769 // "vigi"

	takeLock  = `SELECT pg_advisory_lock($1, hashtext($2))`
	tryLock   = `SELECT pg_try_advisory_lock($1, hashtext($2))`
	instances = `SELECT COUNT(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = $1 AND pid <> pg_backend_pid()`
	selectFacts  = `SELECT current_setting('synchronous_commit') <> 'off', current_setting('server_encoding')`
	schemaExists = `SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)`
	selectTables = `SELECT tablename FROM pg_tables WHERE schemaname = $1`
)

// heldPostgres is a service's schema, held against whoever wants to migrate or
// to clear it. It ends with its connection, and so with the process.
type heldPostgres struct {
	conn        *pgx.Conn
	service     string
	synchronous bool // commits wait for the disk unless told not to
}

// takePostgres waits for whoever holds the schema. Alone, it does not wait, and
// answers [ErrInUse] also where instances of the service run.
func takePostgres(ctx context.Context, cfg *pgx.ConnConfig, service string, alone bool) (*heldPostgres, error) {
	// No limits of its own: a migration takes as long as it takes.
	own := sessions(cfg, service, map[string]string{"lock_timeout": migrationWait})
	own.RuntimeParams["application_name"] = "vigie-hold/" + service
	conn, err := connect(ctx, own)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	h := &heldPostgres{conn: conn, service: service}
	take := h.wait
	if alone {
		take = h.try
	}
	if err := take(ctx); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

// connect tries for as long as the server may only be starting.
func connect(ctx context.Context, cfg *pgx.ConnConfig) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 100*time.Millisecond, time.Second
	for {
		conn, err := pgx.ConnectConfig(ctx, cfg)
		if err == nil {
			return conn, nil
		}
		if code := postgresCode(err); code != "" && code != codeStarting && code != codeTooManyConnections {
			return nil, err // an answer: such as that the password is wrong
		}
		if lifecycle.Sleep(ctx, wait.NextBackOff()) != nil {
			return nil, err
		}
	}
}

func (h *heldPostgres) wait(ctx context.Context) error {
	if _, err := h.conn.Exec(ctx, takeLock, lockClass, h.service); err != nil {
		return fmt.Errorf("wait for the schema of %s: %w", h.service, err)
	}
	return nil
}

func (h *heldPostgres) try(ctx context.Context) error {
	var free bool
	if err := h.conn.QueryRow(ctx, tryLock, lockClass, h.service).Scan(&free); err != nil {
		return fmt.Errorf("take the schema of %s: %w", h.service, err)
	}
	var n int
	if err := h.conn.QueryRow(ctx, instances, applicationName(h.service)).Scan(&n); err != nil {
		return fmt.Errorf("look for instances of %s: %w", h.service, err)
	}
	if !free || n > 0 {
		return fmt.Errorf("%w: schema %s, %d connections", ErrInUse, h.service, n)
	}
	return nil
}

// prepare makes the schema where there is none and migrates its tables.
func (h *heldPostgres) prepare(ctx context.Context, cfg *pgx.ConnConfig, migrations fs.FS) (err error) {
	var encoding string
	if err := h.conn.QueryRow(ctx, selectFacts).Scan(&h.synchronous, &encoding); err != nil {
		return fmt.Errorf("look at the database: %w", err)
	}
	if encoding != "UTF8" {
		return fmt.Errorf("%w: its encoding is %s, want UTF8", ErrUnreachable, encoding)
	}
	// Asked first: whoever may not make schemas can be given one.
	var exists bool
	if err := h.conn.QueryRow(ctx, schemaExists, h.service).Scan(&exists); err != nil {
		return fmt.Errorf("look for schema %s: %w", h.service, err)
	}
	if !exists {
		if _, err := h.conn.Exec(ctx, "CREATE SCHEMA "+pgx.Identifier{h.service}.Sanitize()); err != nil {
			return fmt.Errorf("make schema %s: %w", h.service, err)
		}
	}
	db := stdlib.OpenDB(*sessions(cfg, h.service, nil))
	defer func() { err = errors.Join(err, db.Close()) }()
	return migrate(ctx, db, database.DialectPostgres, h.service, migrations)
}

// clear drops the schema's tables, all or none. The schema itself, which may
// have been given to us, stays.
func (h *heldPostgres) clear(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, h.conn, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, selectTables, h.service)
		if err != nil {
			return err
		}
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, table := range tables {
			if _, err := tx.Exec(ctx, "DROP TABLE "+pgx.Identifier{h.service, table}.Sanitize()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("clear schema %s: %w", h.service, err)
	}
	return nil
}

func (h *heldPostgres) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := h.conn.Close(ctx); err != nil && !pgconn.Timeout(err) {
		return fmt.Errorf("release schema %s: %w", h.service, err)
	}
	return nil
}
