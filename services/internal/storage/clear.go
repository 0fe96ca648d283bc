package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// Held are the storages of services that are kept from starting.
type Held struct {
	files []string
	locks []*flock.Flock
}

// Hold takes the locks of several services' storages. It answers [ErrInUse],
// and holds none, where one of them is in use.
func Hold(url string, services ...string) (*Held, error) {
	folder, err := sqliteFolder(url)
	if err != nil {
		return nil, err
	}
	h := &Held{}
	for _, s := range services {
		lock, err := LockFolder(filepath.Join(folder, s))
		if err != nil {
			return nil, errors.Join(err, h.Release())
		}
		h.locks = append(h.locks, lock)
		h.files = append(h.files, filepath.Join(folder, s, s+".db"))
	}
	return h, nil
}

// Clear removes what the services have stored.
func (h *Held) Clear() error {
	for _, file := range h.files {
		// The write-ahead log before its database: a leftover log would be
		// taken for that of the next database.
		for _, suffix := range []string{"-wal", "-shm", ""} {
			if err := os.Remove(file + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("clear storage: %w", err)
			}
		}
	}
	return nil
}

// Release lets the services start again.
func (h *Held) Release() error {
	var errs []error
	for _, l := range h.locks {
		errs = append(errs, l.Close())
	}
	h.locks = nil
	return errors.Join(errs...)
}
