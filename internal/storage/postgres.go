package storage

import (
	"context"
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
)

const (
	// DefaultConnections is how many connections a service's instance has to
	// a PostgreSQL server at most, unless told otherwise.
	DefaultConnections = 8

	// patience bounds a statement and a transaction.
	patience = 10 * time.Second
	// silence bounds how long an instance that stands still keeps the rows of
	// its transaction from others, who wait for them less than patience.
	silence        = 5 * time.Second
	connectTimeout = 5 * time.Second
	// A connection is given up from time to time, so that instances find a
	// server that was added or has taken over.
	maxLifetime = 30 * time.Minute

	wantPostgres = "postgres://USER:PASSWORD@HOST/DATABASE" //nolint:gosec // names of the parts
)

func isPostgres(databaseURL string) bool {
	return strings.HasPrefix(databaseURL, "postgres://") || strings.HasPrefix(databaseURL, "postgresql://")
}

// parsePostgres reads a DATABASE_URL as libpq does, its PG* variables and
// password files included. Its error does not show the URL, which may hold a
// password.
func parsePostgres(databaseURL string) (*pgx.ConnConfig, error) {
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
	return cfg, nil
}

// Redacted returns a DATABASE_URL as it can be shown: without a password.
func Redacted(databaseURL string) string {
	if !isPostgres(databaseURL) {
		return databaseURL
	}
	u, err := url.Parse(databaseURL)
	if err != nil {
		return "postgres://…"
	}
	return (&url.URL{Scheme: "postgres", Host: u.Host, Path: u.Path}).String()
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

// sessions returns a configuration for connections of one service. What the
// URL sets by itself stays, but for the names that others rely on.
func sessions(cfg *pgx.ConnConfig, service string, limits map[string]string) *pgx.ConnConfig {
	cfg = cfg.Copy()
	cfg.RuntimeParams["search_path"] = pgx.Identifier{service}.Sanitize()
	cfg.RuntimeParams["application_name"] = applicationName(service)
	for name, value := range limits {
		if _, set := cfg.RuntimeParams[name]; !set {
			cfg.RuntimeParams[name] = value
		}
	}
	return cfg
}

// applicationName is how an instance's connections are told from others.
func applicationName(service string) string { return "vigie/" + service }

// limits keep the server from waiting for an instance that has gone, from
// working for one that no longer listens, and from plans made for other times.
func limits() map[string]string {
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	return map[string]string{
		"statement_timeout": ms(patience), "idle_in_transaction_session_timeout": ms(silence),
		// A plan that is kept is the one of the table's size then: a ledger that
		// was empty at first would be read whole for every batch, until the
		// server next gathers statistics.
		"plan_cache_mode": "force_custom_plan",
	}
}

func openPostgres(ctx context.Context, databaseURL, service string, migrations fs.FS, o options) (_ *Store, err error) {
	cfg, err := parsePostgres(databaseURL)
	if err != nil {
		return nil, err
	}
	held, err := takePostgres(ctx, cfg, service, o.alone)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil || !o.alone {
			err = errors.Join(err, held.close())
		}
	}()
	if err := held.prepare(ctx, cfg, migrations); err != nil {
		return nil, err
	}
	if o.connections < 1 {
		o.connections = DefaultConnections
	}
	session := sessions(cfg, service, limits())
	if !held.synchronous {
		// A decision is published right after its commit. If a crash of the
		// server could take the commit back, it would be decided again.
		session.RuntimeParams["synchronous_commit"] = "on"
	}
	db := stdlib.OpenDB(*session)
	db.SetMaxOpenConns(o.connections)
	db.SetMaxIdleConns(o.connections)
	db.SetConnMaxLifetime(maxLifetime)
	s := &Store{engine: postgresEngine(), write: db, read: db, gate: newGate(), release: func() error { return nil }}
	if o.alone {
		s.release = held.close
	}
	return s, nil
}

// reason leaves out of a connection's error whom and where to: the user's name
// is for the log, not for whoever asks how the service is.
func reason(err error) error {
	if e, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return fmt.Errorf("%w: %w", ErrUnreachable, e.Unwrap())
	}
	return err
}
