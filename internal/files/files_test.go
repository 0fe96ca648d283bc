package files_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vigie-dev/vigie/internal/files"
	testcerts "github.com/vigie-dev/vigie/internal/testenv/certs"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func TestReadIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	longest := strings.Repeat("x", files.MaxSize)
	put(t, path, longest)
	if got, err := files.Read(path); string(got) != longest || err != nil {
		t.Errorf("as long as it may be: %d bytes, %v", len(got), err)
	}
	put(t, path, longest+"x")
	if _, err := files.Read(path); !errors.Is(err, files.ErrTooLarge) {
		t.Errorf("longer than it may be: %v", err)
	}
	if _, err := files.Read(path + ".missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

func TestAuthoritiesAreCertificates(t *testing.T) {
	ca := testcerts.New(t, "authority")
	if pool, err := files.Authorities(ca.File); pool == nil || err != nil {
		t.Errorf("an authority: %v", err)
	}
	if _, err := files.Authorities(ca.Sign(t, "own").KeyFile); !errors.Is(err, files.ErrNoCertificate) {
		t.Errorf("a key: %v", err)
	}
	if _, err := files.Authorities(ca.File + ".missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

var errBad = errors.New("cannot be used")

// joined takes two files, neither of which may say "bad".
func joined(contents [][]byte) (string, error) {
	text := string(bytes.Join(contents, []byte("|")))
	if strings.Contains(text, "bad") {
		return "", errBad
	}
	return text, nil
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

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text += string(b)
	return len(b), nil
}

// take returns what was logged since the last time.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text
	l.text = ""
	return text
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
	synctest.Test(t, func(t *testing.T) { follow(t, a, b, link) })
}

func follow(t *testing.T, a, b, link string) {
	f, err := files.Open(joined, a, link)
	if err != nil || f.Get() != "1|2" {
		t.Fatal(f, err)
	}
	const every = time.Second // of the bubble's clock
	var log lines
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx, every, slog.New(slog.NewTextHandler(&log, nil))) }()
	look := func() {
		time.Sleep(every) //nolint:forbidigo // of the bubble, whose clock jumps
		synctest.Wait()
	}
	old := time.Now().Add(-time.Hour)
	before := "1|2"
	for _, step := range []struct {
		change       func() error
		logged, want string
	}{
		{func() error { put(t, b, "3"); return nil }, "level=INFO", "1|3"},
		{func() error { put(t, b, "4"); return os.Chtimes(b, old, old) }, "level=INFO", "1|4"},
		{func() error { put(t, b, "bad"); return nil }, "cannot be used", "1|4"},
		{func() error { return os.Remove(link) }, "no such file", "1|4"},
		{func() error { return os.Symlink(a, link) }, "level=INFO", "1|1"},
		{func() error { put(t, a, strings.Repeat("x", files.MaxSize+1)); return nil }, "too large", "1|1"},
		{func() error { put(t, a, "5"); return nil }, "level=INFO", "5|5"},
	} {
		if err := step.change(); err != nil {
			t.Fatal(err)
		}
		look()
		if line := log.take(); line != "" || f.Get() != before {
			t.Errorf("one look took a change over: %.20q, %s", f.Get(), line)
		}
		for range 3 { // the second takes it over, the others find nothing new
			look()
		}
		if line := log.take(); !strings.Contains(line, step.logged) || strings.Count(line, "\n") != 1 {
			t.Errorf("logs %s, want one line with %s", line, step.logged)
		}
		if f.Get() != step.want {
			t.Errorf("holds %.20q, want %q", f.Get(), step.want)
		}
		before = step.want
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
	put(t, large, strings.Repeat("x", files.MaxSize+1))
	for path, want := range map[string]error{bad: errBad, large: files.ErrTooLarge, filepath.Join(folder, "missing"): os.ErrNotExist, folder: nil} {
		if f, err := files.Open(joined, path); f != nil || err == nil || !errors.Is(err, want) && want != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A file that is made is whole, its owner's alone, and never in another's place.
func TestAFileIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "token")
	var made atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			one, err := files.Make(path, []byte(strconv.Itoa(i)))
			if err != nil {
				t.Error(err)
			}
			if one {
				made.Add(1)
			}
		})
	}
	all.Wait()
	before, err := files.Read(path)
	if err != nil || made.Load() != 1 || len(before) != 1 {
		t.Errorf("it was made %d times and holds %q, %v", made.Load(), before, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("beside it lies %v, %v", left, err)
	}
	if one, err := files.Make(filepath.Join(path, "in a file"), nil); one || err == nil {
		t.Error("a folder that cannot be")
	}
}

// A file that is awaited is read once it is there, and then followed like any.
func TestAFileIsAwaited(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	f, err := files.Await(joined, path)
	if err != nil || f.Get() != "" || f.Failed() {
		t.Fatalf("holds %q, %v", f.Get(), err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Run(ctx, time.Second, slog.New(slog.DiscardHandler)) }()
		for _, step := range []struct {
			change func()
			want   string
			failed bool
		}{{func() {}, "", false}, {func() { put(t, path, "1") }, "1", false}, {func() { _ = os.Remove(path) }, "1", true}, {func() { put(t, path, "2") }, "2", false}} {
			step.change()
			<-time.After(4 * time.Second) // two looks, and some
			if f.Get() != step.want || f.Failed() != step.failed {
				t.Errorf("holds %q (failed: %t), want %q", f.Get(), f.Failed(), step.want)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	put(t, path, "bad")
	if _, err := files.Await(joined, path); !errors.Is(err, errBad) {
		t.Errorf("a bad file: %v", err)
	}
}
