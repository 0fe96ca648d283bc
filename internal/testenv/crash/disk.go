//go:build unix

package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
)

// diskFull is how long the data folder has no room.
const diskFull = 4 * time.Second

// fillDisk takes all room in the data folder, for a time.
func fillDisk(ctx context.Context, r *round) error {
	if err := r.pause(ctx, maxAfter); err != nil {
		return err
	}
	path := filepath.Join(r.data, "ballast")
	full, cancel := context.WithTimeout(ctx, diskFull)
	defer cancel()
	for full.Err() == nil { // again, should anything have been given back
		if err := fill(path); err != nil {
			return err
		}
		_ = lifecycle.Sleep(full, 20*time.Millisecond)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("make room: %w", err)
	}
	return nil
}

// fill appends to a file until there is no room for a byte.
func fill(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // our own
	if err != nil {
		return fmt.Errorf("fill disk: %w", err)
	}
	defer func() { _ = f.Close() }()
	for size := 1 << 20; size > 0; {
		_, err := f.Write(make([]byte, size))
		switch {
		case errors.Is(err, syscall.ENOSPC):
			size /= 16
		case err != nil:
			return fmt.Errorf("fill disk: %w", err)
		}
	}
	return nil
}
