package reload_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vigie-dev/vigie/internal/files"
	"github.com/vigie-dev/vigie/internal/reload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

var errBad = errors.New("cannot be used")

// joined takes two files, neither of which may say "bad".
func joined(contents [][]byte) (string, error) {
	text := string(bytes.Join(contents, []byte("|")))
	if strings.Contains(text, "bad") {
		return "", errBad
	}
	return text, nil
}

type tail chan string

func (l tail) Write(b []byte) (int, error) { l <- string(b); return len(b), nil }

func (l tail) next(t *testing.T) string {
	t.Helper()
	select {
	case line := <-l:
		return line
	case <-time.After(patience):
		t.Fatal("nothing is logged")
		return ""
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	beside := path + ".new"
	if err := os.WriteFile(beside, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(beside, path); err != nil {
		t.Fatal(err)
	}
}

// What the files hold is followed, whatever their times say; a fault keeps the
// last good contents, and is logged once for each change.
func TestFilesAreFollowed(t *testing.T) {
	folder := t.TempDir()
	a, b, link := filepath.Join(folder, "a"), filepath.Join(folder, "b"), filepath.Join(folder, "link")
	put(t, a, "1")
	put(t, b, "2")
	if err := os.Symlink(b, link); err != nil {
		t.Fatal(err)
	}
	f, err := reload.Open(joined, a, link)
	if err != nil || f.Get() != "1|2" {
		t.Fatal(f, err)
	}
	log := make(tail, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx, time.Millisecond, slog.New(slog.NewTextHandler(log, nil))) }()
	old := time.Now().Add(-time.Hour)
	for _, step := range []struct {
		change       func() error
		logged, want string
	}{
		{func() error { put(t, b, "3"); return nil }, "level=INFO", "1|3"},
		{func() error { put(t, b, "4"); return os.Chtimes(b, old, old) }, "level=INFO", "1|4"},
		{func() error { put(t, b, "bad"); return nil }, "cannot be used", "1|4"},
		{func() error { return os.Remove(link) }, "no such file", "1|4"},
		{func() error { return os.Symlink(a, link) }, "level=INFO", "1|1"},
		{func() error { put(t, a, strings.Repeat("x", reload.MaxFile+1)); return nil }, "too large", "1|1"},
		{func() error { put(t, a, "5"); return nil }, "level=INFO", "5|5"},
	} {
		if err := step.change(); err != nil {
			t.Fatal(err)
		}
		if line := log.next(t); !strings.Contains(line, step.logged) {
			t.Errorf("logs %s, want %s", line, step.logged)
		}
		if f.Get() != step.want {
			t.Errorf("holds %.20q, want %q", f.Get(), step.want)
		}
	}
	if len(log) != 0 {
		t.Errorf("logs once more: %s", <-log)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAStartNeedsGoodFiles(t *testing.T) {
	folder := t.TempDir()
	bad, large := filepath.Join(folder, "bad"), filepath.Join(folder, "large")
	put(t, bad, "bad")
	put(t, large, strings.Repeat("x", reload.MaxFile+1))
	for path, want := range map[string]error{bad: errBad, large: files.ErrTooLarge, filepath.Join(folder, "missing"): os.ErrNotExist, folder: nil} {
		if f, err := reload.Open(joined, path); f != nil || err == nil || !errors.Is(err, want) && want != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
