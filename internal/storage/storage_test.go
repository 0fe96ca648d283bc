package storage_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/vigie-dev/vigie/internal/storage"
)

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	used := t.TempDir()
	s := reopen(t, "sqlite:"+used)
	defer closed(t, s)
	locked := t.TempDir()
	if err := os.MkdirAll(filepath.Join(locked, "clerk", "lock"), 0o750); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]error{
		"":                          storage.ErrUnsupportedURL,
		"sqlite:":                   storage.ErrUnsupportedURL,
		"SQLITE:" + used:            storage.ErrUnsupportedURL,
		"mysql://host/name":         storage.ErrUnsupportedURL,
		"data":                      storage.ErrUnsupportedURL,
		"sqlite:" + file:            storage.ErrNotWritable,
		"sqlite:" + file + "/below": storage.ErrNotWritable,
		"sqlite:" + locked:          storage.ErrNotWritable, // where the lock's file should be is a folder
		"sqlite:" + used:            storage.ErrInUse,
		"sqlite:" + used + "/../" + filepath.Base(used): storage.ErrInUse,
	} {
		s, err := storage.Open(t.Context(), url, "clerk", notes())
		if !errors.Is(err, want) {
			t.Errorf("open %q: %v, want %v", url, err, want)
		}
		if err == nil {
			closed(t, s)
		}
	}
}

func TestServicesOfOneFolderAreApart(t *testing.T) { onEach(t, testServicesOfOneFolderAreApart) }

func testServicesOfOneFolderAreApart(t *testing.T, empty maker) {
	url := empty(t)
	clerk := reopen(t, url)
	defer closed(t, clerk)
	porter, err := storage.Open(t.Context(), url, "porter", notes())
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, porter)
	update(t, clerk, func(ctx context.Context, tx *storage.Tx) error { return note(ctx, tx, 1, "mine") })
	if n := number(t, porter, countNotes); n != 0 {
		t.Errorf("the other service sees %d notes", n)
	}
}

func TestFoldersWithOddNames(t *testing.T) {
	for _, name := range []string{
		"plain", "with space", "what?", "mode=memory?mode=memory", "#hash", "50%", "%41", "a&b=c;d", "été", "a+b", "'quoted\"", "back\\slash",
	} {
		t.Run("", func(t *testing.T) {
			root := t.TempDir()
			folder := filepath.Join(root, name)
			s := reopen(t, "sqlite:"+folder)
			update(t, s, func(ctx context.Context, tx *storage.Tx) error { return note(ctx, tx, 1, "kept") })
			closed(t, s)
			if _, err := os.Stat(filepath.Join(folder, "clerk", "clerk.db")); err != nil {
				t.Errorf("in %q: %v", name, err)
			}
			if there, err := os.ReadDir(root); len(there) != 1 || err != nil {
				t.Errorf("beside %q there is %v, %v", name, there, err)
			}
			s = reopen(t, "sqlite:"+folder)
			defer closed(t, s)
			if n := number(t, s, countNotes); n != 1 {
				t.Errorf("in %q %d notes are kept, want 1", name, n)
			}
		})
	}
}

func TestRelativeFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	closed(t, reopen(t, "sqlite:./data"))
	if _, err := os.Stat(filepath.Join("data", "clerk", "clerk.db")); err != nil {
		t.Error(err)
	}
}

func TestStateSurvivesAndMigrationsRunOnce(t *testing.T) {
	onEach(t, testStateSurvivesAndMigrationsRunOnce)
}

func testStateSurvivesAndMigrationsRunOnce(t *testing.T, empty maker) {
	url := empty(t)
	for round := range 3 {
		s := reopen(t, url)
		if err := errors.Join(s.Check(t.Context()), s.StartAt(t.Context(), orders(), 0)); err != nil {
			t.Fatal(err)
		}
		if next, _ := position(t, s, orders()); next != int64(round) {
			t.Errorf("round %d begins at %d", round, next)
		}
		update(t, s, func(ctx context.Context, tx *storage.Tx) error {
			return errors.Join(note(ctx, tx, round, "kept"), tx.Advance(ctx, orders(), int64(round), int64(round)+1, time.Time{}))
		})
		if n := number(t, s, countNotes); n != round+1 {
			t.Errorf("round %d: %d notes", round, n)
		}
		closed(t, s)
	}
}

func TestALaterMigrationFindsTheOldState(t *testing.T) {
	onEach(t, testALaterMigrationFindsTheOldState)
}

func testALaterMigrationFindsTheOldState(t *testing.T, empty maker) {
	url := empty(t)
	s := reopen(t, url)
	update(t, s, func(ctx context.Context, tx *storage.Tx) error { return note(ctx, tx, 1, "old") })
	closed(t, s)

	grown := notes().(fstest.MapFS)
	grown["00002_author.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nALTER TABLE nots ADD author TEXT;\n")}
	if s, err := storage.Open(t.Context(), url, "clerk", grown); err == nil {
		closed(t, s)
		t.Fatal("a broken migration passed")
	}
	// The failure gave the lock back and left the version where it was.
	grown["00002_author.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nALTER TABLE notes ADD author TEXT NOT NULL DEFAULT 'unknown';\n")}
	s, err := storage.Open(t.Context(), url, "clerk", grown)
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, s)
	var body, author string
	if err := s.QueryRow(t.Context(), "SELECT body, author FROM notes WHERE id = $1", 1).Scan(&body, &author); err != nil {
		t.Fatal(err)
	}
	if body != "old" || author != "unknown" {
		t.Errorf("note %q by %q", body, author)
	}
}

func TestCloseLetsATransactionEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		s := reopen(t, "sqlite:"+folder)
		goOn, done, closing := make(chan struct{}), make(chan error, 1), make(chan error, 1)
		go func() {
			done <- s.Update(t.Context(), func(tx *storage.Tx) error {
				<-goOn
				return note(t.Context(), tx, 1, "last")
			})
		}()
		synctest.Wait() // the transaction is open
		go func() { closing <- s.Close() }()
		synctest.Wait() // Close has returned, or waits
		select {
		case err := <-closing:
			t.Errorf("closed (%v) before the transaction ended", err)
			closing <- nil
		default:
		}
		close(goOn)
		if err := errors.Join(<-done, <-closing); err != nil {
			t.Error(err)
		}
		if err := s.Update(t.Context(), func(*storage.Tx) error { return nil }); err == nil {
			t.Error("a closed store was changed")
		}
		s = reopen(t, "sqlite:"+folder)
		defer closed(t, s)
		if n := number(t, s, countNotes); n != 1 {
			t.Errorf("%d notes are stored, want 1", n)
		}
	})
}

const password = "s3cr3t"

// What is wrong with a URL is reported without the URL, which may contain a
// password.
func TestPostgresURLsThatAreRefused(t *testing.T) {
	for _, url := range []string{
		"postgres://user:" + password + "@host:port/db",
		"postgres://user:" + password + "%zz@host/db",
		"postgres://user:" + password + "@[host/db",
		"postgres://user:" + password + "@host /db",
		"postgres://us er:" + password + "@host/db",
		"postgres://user:" + password + "@host/db?sslmode=perhaps",
		"postgres://user:" + password + "@host/db?connect_timeout=" + "soon",
		"postgres://host/db?password=" + password + "&sslmode=perhaps",
		"postgresql://user:" + password + "`: x@host/db?sslmode=`: ",
		"postgres://user:" + password + "@host/db?sslrootcert=/nowhere&sslmode=verify-full",
		"postgres://user:a\n" + password + "@host/db",
	} {
		_, errOpen := storage.Open(t.Context(), url, "clerk", notes())
		_, errRead := storage.OpenReadOnly(t.Context(), url, "clerk")
		_, errLock := storage.Lock(t.Context(), url, "clerk")
		for _, err := range []error{errOpen, errRead, errLock} {
			if !errors.Is(err, storage.ErrUnsupportedURL) {
				t.Errorf("%s: %v, want ErrUnsupportedURL", url, err)
			} else if strings.Contains(err.Error(), password) {
				t.Errorf("the password is revealed: %v", err)
			}
		}
	}
}

func TestRedacted(t *testing.T) {
	for url, want := range map[string]string{
		"sqlite:./data": "sqlite:./data",
		"postgres://user:" + password + "@host:5432/db?password=" + password: "postgres://host:5432/db",
		"postgresql://user:" + password + "@one,two/db":                      "postgres://one,two/db",
		"postgres://user:" + password + "%zz@host/db":                        "postgres://…",
	} {
		if got := storage.Redacted(url); got != want {
			t.Errorf("%s is shown as %s, want %s", url, got, want)
		}
	}
}
