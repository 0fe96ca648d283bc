//go:build unix

package servers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// buildTimeout bounds a cold build, minutes on two cores.
const buildTimeout = 30 * time.Minute

// errMissing: a server cannot be had here; the text says why.
var errMissing = errors.New("server not to be had here")

// Binary returns the path of a program, building it the first time.
func Binary(ctx context.Context, program string) (string, error) {
	r, ok := recipeOf(program)
	if !ok {
		return "", fmt.Errorf("no program %s", program)
	}
	return once(program+"-"+r.version, func(aside string) error { return r.build(ctx, aside) })
}

// Cached returns the path of a program that was built before.
func Cached(program string) (path string, ok bool) {
	r, known := recipeOf(program)
	cache, err := folder()
	if !known || err != nil {
		return "", false
	}
	path = filepath.Join(cache, program+"-"+r.version)
	_, err = os.Stat(path)
	return path, err == nil
}

// build builds a copy of the module's folder: what it embeds may have to be
// added, and its own go.mod is what it was tested with.
func (s source) build(ctx context.Context, output string) error {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	tree := output + "-source"
	if err := s.copy(ctx, tree); err != nil {
		return err
	}
	if s.page != "" {
		page := filepath.Join(tree, filepath.FromSlash(s.page))
		if err := errors.Join(os.MkdirAll(filepath.Dir(page), 0o750), os.WriteFile(page, []byte("<!doctype html>\n"), 0o600)); err != nil {
			return fmt.Errorf("add page to %s: %w", s.module, err)
		}
	}
	_, err := goCommand(ctx, tree, "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-tags="+s.tags,
		"-ldflags=-s -w -X github.com/prometheus/common/version.Version="+s.shown, "-o", output, "./"+s.pkg)
	return err
}

// copy brings the module's files into a folder, writable.
func (s source) copy(ctx context.Context, tree string) error {
	answer, err := goCommand(ctx, filepath.Dir(tree), "mod", "download", "-json", s.module+"@"+s.version)
	if err != nil {
		return err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(answer, &module); err != nil {
		return fmt.Errorf("find %s: %w", s.module, err)
	}
	if err := os.CopyFS(tree, os.DirFS(module.Dir)); err != nil {
		return fmt.Errorf("copy %s: %w", s.module, err)
	}
	return writable(tree)
}

// writable lets files be added and the tree be removed: the module cache is
// read-only, and so are copies of it.
func writable(tree string) error {
	return filepath.WalkDir(tree, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		return os.Chmod(path, 0o750) //nolint:gosec // a folder
	})
}

// goCommand runs the go command in a folder, as far from the user's settings
// as the build needs it.
func goCommand(ctx context.Context, dir string, args ...string) ([]byte, error) {
	var output, complaints bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // constants
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &output, &complaints
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: go %v: %w\n%s%s", errMissing, args, err, tail(output.Bytes()), tail(complaints.Bytes()))
	}
	return output.Bytes(), nil
}

// tail is the end of a long text.
func tail(text []byte) []byte { return text[max(0, len(text)-4000):] }
