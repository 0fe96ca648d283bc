package storage

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
)

// openFile opens an empty storage in a file, and returns its path.
func openFile(t *testing.T, opts ...Option) (s *Store, url, path string) {
	t.Helper()
	folder := t.TempDir()
	url, path = "sqlite:"+folder, filepath.Join(folder, "clerk", "clerk.db")
	s, err := Open(t.Context(), url, "clerk", nil, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, url, path
}

// forget has the storage need a proof that it takes writes.
func (s *Store) forget() {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	s.health.wroteAt, s.health.probedAt, s.health.noRoomAt, s.health.lookAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
}

func exec(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// insert stores so many bytes.
func insert(t *testing.T, s *Store, bytes int) error {
	t.Helper()
	return s.Update(t.Context(), func(tx *Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO outbox (source_topic, source_partition, last_offset, messages)
			VALUES ('t', 0, (SELECT COALESCE(MAX(last_offset), 0) + 1 FROM outbox), $1)`, make([]byte, bytes))
		return err
	})
}

func ready(t *testing.T, s *Store, what string) {
	t.Helper()
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func notReady(t *testing.T, ctx context.Context, s *Store, what, reason string) {
	t.Helper()
	if err := s.Check(ctx); err == nil || !strings.Contains(err.Error(), reason) {
		t.Errorf("%s: %v, want %q", what, err, reason)
	}
}

func TestAStorageThatTakesNoWritesIsNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the machine may be slow
		s, _, path := openFile(t)
		ready(t, s, "at first")
		other, err := sql.Open("sqlite", "file:"+path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = other.Close() }()
		other.SetMaxOpenConns(1)
		exec(t, other, "BEGIN IMMEDIATE")
		ready(t, s, "just after a write")
		s.forget()
		hurried, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		notReady(t, hurried, s, "locked by another", "a write has not ended")
		exec(t, other, "COMMIT")
		for s.Check(t.Context()) != nil { // the write under way ends within its busy time
			s.forget()
		}

		exec(t, s.write, "PRAGMA query_only = 1")
		s.forget()
		notReady(t, t.Context(), s, "read-only", "readonly")
		exec(t, s.write, "PRAGMA query_only = 0")
		notReady(t, t.Context(), s, "within seconds of a try that failed", "readonly")
		s.forget()
		ready(t, s, "writable again")
	})
}

// A small write may still find room where those of the work do not.
func TestAStorageWithoutRoomIsNotReady(t *testing.T) {
	s, _, _ := openFile(t)
	if err := insert(t, s, 10); err != nil {
		t.Fatal(err)
	}
	exec(t, s.write, "PRAGMA max_page_count = 1") // as many as there are
	if err := insert(t, s, 1<<20); err == nil {
		t.Fatal("a full disk took a megabyte")
	}
	notReady(t, t.Context(), s, "just after a write found no room", "full")
	s.forget()
	ready(t, s, "long after it, a small write finds room")
	if err := insert(t, s, 1<<20); err == nil {
		t.Fatal("a full disk took a megabyte")
	}
	exec(t, s.write, "PRAGMA max_page_count = 1000000")
	notReady(t, t.Context(), s, "before a write of the work succeeds", "full")
	if err := insert(t, s, 1<<20); err != nil {
		t.Fatal(err)
	}
	ready(t, s, "with room again")
}

func TestChecksWriteOnceInSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the machine may be slow
		var reads atomic.Int64
		system := SystemClocks()
		s, _, _ := openFile(t, WithClocks(func() Instant { reads.Add(1); return system() }))
		check := func() {
			var group sync.WaitGroup
			for range 50 {
				group.Go(func() {
					if err := s.Check(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
		}
		before := reads.Load() // a write reads the clocks once
		check()
		if n := reads.Load() - before; n != 0 {
			t.Errorf("just after a write, checks wrote %d times", n)
		}
		s.forget()
		check()
		check()
		if n := reads.Load() - before; n != 1 {
			t.Errorf("100 checks wrote %d times", n)
		}
	})
}

// spoil writes garbage over part of a file.
func spoil(t *testing.T, path string, from, n int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	garbage := make([]byte, n)
	_, _ = rand.Read(garbage)
	if _, err := f.WriteAt(garbage, from); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestADatabaseThatIsDamagedWhileItIsOpen(t *testing.T) {
	s, _, path := openFile(t)
	for range 50 {
		if err := insert(t, s, 5000); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, s.write, "PRAGMA wal_checkpoint(TRUNCATE)")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	spoil(t, path, info.Size()/2, info.Size()/2)
	var sum int
	err = s.QueryRow(t.Context(), "SELECT SUM(LENGTH(messages) + LENGTH(HEX(messages))) FROM outbox").Scan(&sum)
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Errorf("read: %v, want ErrDamaged with %s", err, path)
	}
	notReady(t, t.Context(), s, "damaged", path)
	s.forget()
	notReady(t, t.Context(), s, "damaged for good", path)
}

func TestADamagedDatabaseIsNotOpened(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, path string, size int64){
		"a page":     func(t *testing.T, path string, size int64) { spoil(t, path, size-4096, 4096) },
		"the header": func(t *testing.T, path string, _ int64) { spoil(t, path, 0, 100) },
		"its half": func(t *testing.T, path string, size int64) {
			if err := os.Truncate(path, size/2); err != nil {
				t.Fatal(err)
			}
		},
	} {
		s, url, path := openFile(t)
		for range 50 {
			if err := insert(t, s, 1000); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		damage(t, path, info.Size())
		if s, err := Open(t.Context(), url, "clerk", nil); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want ErrDamaged with %s", name, err, path)
			_ = s.Close()
		}
	}
}

// What the database refuses for what it is asked to hold is out of range,
// whoever tries; what it refuses for the moment is not.
func TestWhatNoDatabaseCanHold(t *testing.T) {
	s, _, _ := openFile(t)
	for query, want := range map[string]bool{
		`INSERT INTO stamp (name, value) VALUES ('a', NULL)`:          true,
		`INSERT INTO stamp (name, value) VALUES ('b', zeroblob(2e9))`: true,
		`INSERT INTO stamp (name, value) VALUES ('c', 'd')`:           false,
		`INSERT INTO nothing (name) VALUES ('a')`:                     false,
	} {
		err := s.Update(t.Context(), func(tx *Tx) error { _, err := tx.Exec(t.Context(), query); return err })
		if errors.Is(err, ErrOutOfRange) != want {
			t.Errorf("%s: %v", query, err)
		}
	}
	err := s.Update(t.Context(), func(tx *Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO stamp (name, value) VALUES ('c', 'again')`)
		return err
	})
	if errors.Is(err, ErrOutOfRange) || !IsUnique(err) {
		t.Errorf("a key that is there: %v", err)
	}
}

// What somebody else has done to an open database's file is noticed although
// the connections go on with the pages that they have in memory.
func TestAnOverwrittenFileIsDamage(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"overwritten": func(path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			junk := make([]byte, info.Size())
			_, _ = rand.Read(junk)
			_, err = f.Write(junk)
			return errors.Join(err, f.Close())
		},
		"removed": os.Remove,
		"replaced": func(path string) error {
			content, err := os.ReadFile(path)
			return errors.Join(err, os.Remove(path), os.WriteFile(path, content, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _, path := openFile(t)
			ready(t, s, "at first")
			s.forget()
			ready(t, s, "when the pages have been looked at")
			if err := harm(path); err != nil {
				t.Fatal(err)
			}
			var err error
			for deadline := time.Now().Add(time.Minute); err == nil && time.Now().Before(deadline); _ = lifecycle.Sleep(t.Context(), time.Millisecond) {
				s.forget()
				if err := insert(t, s, 10); err != nil && !errors.Is(err, ErrDamaged) { // the service goes on
					t.Fatal(err)
				}
				err = s.Check(t.Context())
			}
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
				t.Errorf("not ready for %v, want ErrDamaged and the file's name", err)
			}
		})
	}
}

func TestDamageIsLookedAtAgain(t *testing.T) {
	other := errors.New("interrupted")
	for name, c := range map[string]struct {
		looks []error
		want  error
	}{
		"none":                  {[]error{nil}, nil},
		"seen once":             {[]error{errPages, nil}, nil},
		"seen twice":            {[]error{errPages, errPages}, errPages},
		"nothing could be seen": {[]error{other}, other},
		"nor the second time":   {[]error{errPages, other}, other},
	} {
		left := c.looks
		look := func() error { err := left[0]; left = left[1:]; return err }
		if err := confirmed(look, look); !errors.Is(err, c.want) || err != nil && c.want == nil || len(left) > 0 {
			t.Errorf("%s: %v with %d looks left, want %v", name, err, len(left), c.want)
		}
	}
}
