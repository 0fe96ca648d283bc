package storage

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

//go:embed migrations/*.sql
var deliveryMigrations embed.FS

// migrate applies what is missing; nobody else migrates the service meanwhile.
// This package's tables and the service's have a version history each, so that
// either can grow without the other.
func migrate(ctx context.Context, db *sql.DB, dialect database.Dialect, service string, migrations fs.FS) error {
	own, err := fs.Sub(deliveryMigrations, "migrations")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if err := apply(ctx, db, dialect, "delivery_version", own); err != nil {
		return fmt.Errorf("migrate delivery tables of %s: %w", service, err)
	}
	if migrations == nil {
		return nil
	}
	if err := apply(ctx, db, dialect, "service_version", migrations); err != nil {
		return fmt.Errorf("migrate tables of %s: %w", service, err)
	}
	return nil
}

func apply(ctx context.Context, db *sql.DB, dialect database.Dialect, versions string, migrations fs.FS) error {
	provider, err := goose.NewProvider(dialect, db, migrations,
		goose.WithTableName(versions), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}
