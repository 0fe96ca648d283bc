package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Held are the storages of services that are kept from starting.
type Held struct {
	parts []held
}

// held is one service's storage, kept from the service.
type held interface {
	// clear removes what the service has stored.
	clear(ctx context.Context) error
	close() error
}

// Hold takes several services' storages. It answers [ErrInUse], and holds
// none, where one of them is in use.
func Hold(ctx context.Context, url string, services ...string) (*Held, error) {
	h := &Held{}
	for _, service := range services {
		part, err := hold(ctx, url, service)
		if err != nil {
			return nil, errors.Join(err, h.Release())
		}
		h.parts = append(h.parts, part)
	}
	return h, nil
}

func hold(ctx context.Context, url, service string) (held, error) {
	if isPostgres(url) {
		cfg, err := parsePostgres(url)
		if err != nil {
			return nil, err
		}
		return takePostgres(ctx, cfg, service, true)
	}
	folder, err := sqliteFolder(url)
	if err != nil {
		return nil, err
	}
	lock, err := LockFolder(filepath.Join(folder, service))
	if err != nil {
		return nil, err
	}
	return heldFile{path: filepath.Join(folder, service, service+".db"), release: lock.Close}, nil
}

// Clear removes what the services have stored.
func (h *Held) Clear(ctx context.Context) error {
	for _, part := range h.parts {
		if err := part.clear(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Release lets the services start again.
func (h *Held) Release() error {
	var errs []error
	for _, part := range h.parts {
		errs = append(errs, part.close())
	}
	h.parts = nil
	return errors.Join(errs...)
}

// heldFile is a service's SQLite file.
type heldFile struct {
	path    string
	release func() error
}

func (h heldFile) clear(context.Context) error {
	// The write-ahead log before its database: a leftover log would be taken
	// for that of the next database.
	for _, suffix := range []string{"-wal", "-shm", ""} {
		if err := os.Remove(h.path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("clear storage: %w", err)
		}
	}
	return nil
}

func (h heldFile) close() error { return h.release() }
