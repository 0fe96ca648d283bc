//go:build unix

package servers

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// folder is ${XDG_CACHE_HOME:-~/.cache}/vigie/servers.
func folder() (string, error) {
	base := os.Getenv("XDG_CACHE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find cache: %w", err)
		}
		base = filepath.Join(home, ".cache")
	}
	path := filepath.Join(base, "vigie", "servers")
	if err := os.MkdirAll(path, 0o750); err != nil { //nolint:gosec // the user's own choice
		return "", fmt.Errorf("make cache: %w", err)
	}
	return path, nil
}

// once has fill make the path in the cache unless it is there. Test processes
// run side by side, and one heavy build at a time is enough: they take turns.
// fill works on a path aside, which is moved, so that what is cut short leaves
// nothing that looks whole.
func once(name string, fill func(aside string) error) (string, error) {
	cache, err := folder()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	lock := flock.New(filepath.Join(cache, "lock"))
	if err := lock.Lock(); err != nil {
		return "", fmt.Errorf("lock %s: %w", cache, err)
	}
	defer func() { _ = lock.Close() }()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	aside, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	defer func() { _ = os.RemoveAll(aside) }()
	result := filepath.Join(aside, "result")
	if err := fill(result); err != nil {
		return "", err
	}
	if err := os.Rename(result, path); err != nil {
		return "", fmt.Errorf("keep %s: %w", name, err)
	}
	return path, nil
}
