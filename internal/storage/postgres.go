package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3/database"

	"github.com/vigie-dev/vigie/internal/retry"
)

const (
	// DefaultConnections is how many connections a service's instance has to
	// a PostgreSQL server at most, unless [MaxConnections] says another number.
	DefaultConnections = 8

	// statementTimeout bounds a statement and a transaction.
	statementTimeout = 10 * time.Second
	// idleTimeout bounds how long an instance that stands still keeps the rows of
	// its transaction from others, who wait for them less than statementTimeout.
	idleTimeout    = 5 * time.Second
	connectTimeout = 5 * time.Second
	closeTimeout   = 5 * time.Second
	// startTimeout is how long a start waits for a server to let it in: it
	// may be starting too.
	startTimeout = 10 * time.Second
	// migrationTimeout bounds the wait for another instance's migrations.
	migrationTimeout = "300s"
	// A connection is given up from time to time, so that instances find a
	// server that was added or has taken over.
	maxLifetime = 30 * time.Minute

	// lockClass is this program's part of the database's advisory locks.
	lockClass = 0x76696769 // "vigi"

	wantPostgres = "postgres://USER:PASSWORD@HOST/DATABASE" //nolint:gosec // names of the parts
)

const (
	takeLock  = `SELECT pg_advisory_lock($1, hashtext($2))`
	tryLock   = `SELECT pg_try_advisory_lock($1, hashtext($2))`
	instances = `SELECT COUNT(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = $1 AND pid <> pg_backend_pid()`
	selectFacts    = `SELECT current_setting('synchronous_commit') <> 'off', current_setting('server_encoding')`
	schemaExists   = `SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)`
	positionsExist = `SELECT EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = 'positions')`
	selectTables   = `SELECT tablename FROM pg_tables WHERE schemaname = $1`
)

// postgresDatabase has a schema for each service.
type postgresDatabase struct {
	cfg   *pgx.ConnConfig
	shown string // its URL without a password
}

// parsePostgres reads a DATABASE_URL as libpq does, its PG* variables and
// password files included. Its error does not show the URL, which may contain a
// password.
func parsePostgres(databaseURL string) (backend, error) {
	if _, err := url.Parse(databaseURL); err != nil {
		return nil, fmt.Errorf("%w: it is no URL; want %s, with what is special in the password as %%XX", ErrUnsupportedURL, wantPostgres)
	}
	cfg, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("%w: %s; want %s", ErrUnsupportedURL, withoutURL(err), wantPostgres)
	}
	if cfg.Database == "" {
		return nil, fmt.Errorf("%w: it names no database; want %s", ErrUnsupportedURL, wantPostgres)
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	return postgresDatabase{cfg, Redacted(databaseURL)}, nil
}

// withoutURL is a parse error's text after the URL that it quotes.
func withoutURL(err error) string {
	const quoted = "`: "
	text := err.Error()
	if i := strings.LastIndex(text, quoted); i >= 0 {
		return text[i+len(quoted):]
	}
	return "it cannot be parsed"
}

// session returns a configuration for connections of one service. What the
// URL sets by itself stays, but for the names that others rely on.
func (d postgresDatabase) session(service, application string, limits map[string]string) *pgx.ConnConfig {
	cfg := d.cfg.Copy()
	cfg.RuntimeParams["search_path"] = pgx.Identifier{service}.Sanitize()
	cfg.RuntimeParams["application_name"] = application + "/" + service
	for name, value := range limits {
		if _, set := cfg.RuntimeParams[name]; !set {
			cfg.RuntimeParams[name] = value
		}
	}
	return cfg
}

// Applications, as the server's list of connections shows them. An instance of
// a service is known by the first.
const (
	applicationService = "vigie"
	applicationLock    = "vigie-lock"
	applicationReader  = "vigie-read"
)

// limits keep the server from waiting for an instance that has gone, from
// working for one that no longer listens, and from plans made for other times.
func limits() map[string]string {
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	return map[string]string{
		"statement_timeout": ms(statementTimeout), "idle_in_transaction_session_timeout": ms(idleTimeout),
		// A plan that is kept is the one of the table's size then: a ledger that
		// was empty at first would be read whole for every batch, until the
		// server next gathers statistics.
		"plan_cache_mode": "force_custom_plan",
	}
}

func (d postgresDatabase) open(ctx context.Context, service string, migrations fs.FS, o options) (_ *Store, err error) {
	lock, err := d.lockSchema(ctx, service, o.alone)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil || !o.alone {
			err = errors.Join(err, lock.unlock())
		}
	}()
	synchronous, err := lock.prepareSchema(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.migrate(ctx, service, migrations); err != nil {
		return nil, err
	}
	session := d.session(service, applicationService, limits())
	if !synchronous {
		// A decision is published right after its commit. If a crash of the
		// server could take the commit back, it would be decided again.
		session.RuntimeParams["synchronous_commit"] = "on"
	}
	if o.connections < 1 {
		o.connections = DefaultConnections
	}
	db := stdlib.OpenDB(*session)
	db.SetMaxOpenConns(o.connections)
	db.SetMaxIdleConns(o.connections)
	db.SetConnMaxLifetime(maxLifetime)
	s := &Store{engine: enginePostgres, name: "schema " + service + " of " + d.shown, write: db, read: db, unlock: func() error { return nil }}
	if o.alone {
		s.unlock = lock.unlock
	}
	return s, nil
}

// migrate migrates the schema's tables, over connections without limits.
func (d postgresDatabase) migrate(ctx context.Context, service string, migrations fs.FS) (err error) {
	db := stdlib.OpenDB(*d.session(service, applicationService, nil))
	defer func() { err = errors.Join(err, db.Close()) }()
	return migrate(ctx, db, database.DialectPostgres, service, migrations)
}

// openReadOnly bounds the time of what it reads, which may be much, by nothing
// but the caller's context.
func (d postgresDatabase) openReadOnly(ctx context.Context, service string) (*Reader, error) {
	session := d.session(service, applicationReader, map[string]string{"statement_timeout": "0"})
	session.RuntimeParams["default_transaction_read_only"] = "on"
	db := stdlib.OpenDB(*session)
	db.SetMaxOpenConns(1)
	var there bool
	if err := db.QueryRowContext(ctx, positionsExist, service).Scan(&there); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrUnreachable, err), db.Close())
	}
	if !there {
		return nil, errors.Join(fmt.Errorf("%w: %s has no tables in %s", ErrMissing, service, d.shown), db.Close())
	}
	return &Reader{db: db, name: "schema " + service, isolation: sql.LevelRepeatableRead}, nil
}

// postgresLock is the lock of a service's schema, against others that
// migrate or clear it. It ends with its connection, and so with the process.
type postgresLock struct {
	conn    *pgx.Conn
	service string
}

func (d postgresDatabase) lock(ctx context.Context, service string) (serviceLock, error) {
	lock, err := d.lockSchema(ctx, service, true)
	if err != nil {
		return nil, err
	}
	return lock, nil
}

// lockSchema waits until the schema's lock is free. Alone, it does not wait,
// and returns [ErrInUse] also where instances of the service run.
func (d postgresDatabase) lockSchema(ctx context.Context, service string, alone bool) (*postgresLock, error) {
	// Without limits: a migration takes as long as it takes.
	conn, err := connect(ctx, d.session(service, applicationLock, map[string]string{"lock_timeout": migrationTimeout}))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	l := &postgresLock{conn: conn, service: service}
	take := l.wait
	if alone {
		take = l.try
	}
	if err := take(ctx); err != nil {
		return nil, errors.Join(err, l.unlock())
	}
	return l, nil
}

// connect tries for as long as the server may only be starting.
func connect(ctx context.Context, cfg *pgx.ConnConfig) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var conn *pgx.Conn
	starting := retry.Policy{First: 100 * time.Millisecond, Most: time.Second, Patience: startTimeout}
	err := starting.Do(ctx, func() (err error) {
		conn, err = pgx.ConnectConfig(ctx, cfg)
		if code := postgresCode(err); code != "" && code != codeStarting && code != codeTooManyConnections {
			return retry.Stop(err) // an answer: such as that the password is wrong
		}
		return err
	})
	return conn, err
}

func (l *postgresLock) wait(ctx context.Context) error {
	if _, err := l.conn.Exec(ctx, takeLock, lockClass, l.service); err != nil {
		return fmt.Errorf("wait for the schema of %s: %w", l.service, err)
	}
	return nil
}

// leaving is how long a server may take to see that an instance has gone.
const leaving = 2 * time.Second

// try takes the lock where nobody has it and no instance runs. One that has just
// stopped is on the server's list for a moment.
func (l *postgresLock) try(ctx context.Context) error {
	policy := retry.Policy{First: 20 * time.Millisecond, Most: 200 * time.Millisecond, Patience: leaving}
	return policy.Do(ctx, func() error {
		var free bool
		if err := l.conn.QueryRow(ctx, tryLock, lockClass, l.service).Scan(&free); err != nil {
			return retry.Stop(fmt.Errorf("lock the schema of %s: %w", l.service, err))
		}
		var n int
		if err := l.conn.QueryRow(ctx, instances, applicationService+"/"+l.service).Scan(&n); err != nil {
			return retry.Stop(fmt.Errorf("look for instances of %s: %w", l.service, err))
		}
		if !free || n > 0 {
			return fmt.Errorf("%w: schema %s, %d connections", ErrInUse, l.service, n)
		}
		return nil
	})
}

// prepareSchema makes the schema where there is none. synchronous says whether
// the server's commits wait for the disk by themselves.
func (l *postgresLock) prepareSchema(ctx context.Context) (synchronous bool, err error) {
	var encoding string
	if err := l.conn.QueryRow(ctx, selectFacts).Scan(&synchronous, &encoding); err != nil {
		return false, fmt.Errorf("look at the database: %w", err)
	}
	if encoding != "UTF8" {
		return false, fmt.Errorf("%w: its encoding is %s, want UTF8", ErrUnreachable, encoding)
	}
	// Checked first: a user that may not make schemas can be given one.
	var exists bool
	if err := l.conn.QueryRow(ctx, schemaExists, l.service).Scan(&exists); err != nil {
		return false, fmt.Errorf("look for schema %s: %w", l.service, err)
	}
	if !exists {
		if _, err := l.conn.Exec(ctx, "CREATE SCHEMA "+pgx.Identifier{l.service}.Sanitize()); err != nil {
			return false, fmt.Errorf("make schema %s: %w", l.service, err)
		}
	}
	return synchronous, nil
}

// clear drops the schema's tables, all or none. The schema itself, which may
// have been given to us, stays.
func (l *postgresLock) clear(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, l.conn, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, selectTables, l.service)
		if err != nil {
			return err
		}
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, table := range tables {
			if _, err := tx.Exec(ctx, "DROP TABLE "+pgx.Identifier{l.service, table}.Sanitize()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("clear schema %s: %w", l.service, err)
	}
	return nil
}

func (l *postgresLock) unlock() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := l.conn.Close(ctx); err != nil && !pgconn.Timeout(err) {
		return fmt.Errorf("release schema %s: %w", l.service, err)
	}
	return nil
}
