package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// A database of SQLite is three files, which cannot be removed at one stroke: one
// that is left without its write-ahead log is not empty but older, which nobody
// could see. A note beside them says that they are being cleared. Whoever opens
// the database next completes what a crash has left.

// clearingSuffix is the note's name after that of the database.
const clearingSuffix = "-clearing"

// clearSteps removes a database. A crash after any of them leaves it as it was,
// or to be completed by [completeClearing].
func clearSteps(database string) []func() error {
	steps := []func() error{func() error { return note(database + clearingSuffix) }}
	for _, suffix := range []string{"-wal", "-shm", "", clearingSuffix} {
		steps = append(steps, func() error {
			if err := os.Remove(database + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			return syncFolder(database) // before the next: a power cut must not undo one and keep another
		})
	}
	return steps
}

// clearDatabase removes a database whose lock the caller has.
func clearDatabase(database string) error {
	for _, step := range clearSteps(database) {
		if err := step(); err != nil {
			return fmt.Errorf("clear storage: %w", err)
		}
	}
	return nil
}

// completeClearing removes a database that somebody began to clear.
func completeClearing(database string) error {
	if !beingCleared(database) {
		return nil
	}
	return clearDatabase(database)
}

// beingCleared says whether somebody began to clear the database.
func beingCleared(database string) bool {
	_, err := os.Stat(database + clearingSuffix)
	return err == nil
}

// note makes an empty file that survives a power cut.
func note(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // beside the database, whose folder is a setting
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return syncFolder(path)
}

// syncFolder makes changes of the folder that a file is in survive a power cut,
// where the system can do that.
func syncFolder(file string) error {
	folder, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	_ = folder.Sync() // not every system can
	return folder.Close()
}
