package storage_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

func TestReadersSeeWholeTransactionsWhileAWriterWrites(t *testing.T) {
	onEach(t, testReadersSeeWholeTransactionsWhileAWriterWrites)
}

func testReadersSeeWholeTransactionsWhileAWriterWrites(t *testing.T, empty maker) {
	const rounds, crowd = 150, 8
	s := open(t, empty)
	ctx, stop := context.WithCancel(t.Context())
	var readers, started sync.WaitGroup
	started.Add(crowd)
	for range crowd {
		readers.Go(func() {
			started.Done()
			last := 0
			for ctx.Err() == nil {
				var left, right int
				if err := s.QueryRow(t.Context(), readPair).Scan(&left, &right); err != nil {
					t.Error(err)
					return
				}
				if left+right != 0 || left < last {
					t.Errorf("saw %d and %d after %d", left, right, last)
					return
				}
				last = left
			}
		})
	}
	started.Wait()
	for range rounds {
		moveOne(t, s)
	}
	stop()
	readers.Wait()
	if left := number(t, s, readLeft); left != rounds {
		t.Errorf("left is %d in the end, want %d", left, rounds)
	}
}

func openReadOnly(t *testing.T, url string) *storage.Reader {
	t.Helper()
	r, err := storage.OpenReadOnly(t.Context(), url, "clerk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

// fill stores one of everything that a reader looks at.
func fill(t *testing.T, s *storage.Store) {
	t.Helper()
	if err := s.StartAt(t.Context(), orders(), 4); err != nil {
		t.Fatal(err)
	}
	if err := s.Stamp(t.Context(), map[string]string{"cluster": "one"}); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(ctx context.Context, tx *storage.Tx) error {
		return errors.Join(
			tx.Enqueue(ctx, orders(), 4, waiting()),
			tx.Advance(ctx, orders(), 4, 5, time.Time{}),
		)
	})
}

func waiting() []record.Message {
	return []record.Message{{Topic: "out", Key: []byte("order-7"), Value: []byte("x")}, {Topic: "out"}}
}

// seen is what a reader finds.
type seen struct {
	Positions map[record.Partition]int64
	Outbox    []storage.Pending
}

func look(t *testing.T, r *storage.Reader) (out seen) {
	t.Helper()
	if err := r.Snapshot(t.Context(), func(s *storage.Snapshot) (err error) {
		if out.Positions, err = s.Positions(t.Context()); err != nil {
			return err
		}
		out.Outbox, err = s.Pending(t.Context())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func filled() seen {
	return seen{
		map[record.Partition]int64{orders(): 5},
		[]storage.Pending{{Source: orders(), LastOffset: 4, Messages: waiting()}},
	}
}

// What a service has stored can be read while it runs, after it has stopped,
// and after it was killed with its write-ahead log open.
func TestAReaderSeesWhatIsStored(t *testing.T) {
	running := t.TempDir()
	fill(t, openIn(t, "sqlite:"+running))
	stopped := t.TempDir()
	s := reopen(t, "sqlite:"+stopped)
	fill(t, s)
	closed(t, s)
	killed := t.TempDir()
	copyFolder(t, filepath.Join(running, "clerk"), filepath.Join(killed, "clerk"))
	for name, folder := range map[string]string{"running": running, "stopped": stopped, "killed": killed} {
		t.Run(name, func(t *testing.T) {
			before := contents(t, folder)
			if diff := cmp.Diff(filled(), look(t, openReadOnly(t, "sqlite:"+folder))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, contents(t, folder)); diff != "" {
				t.Errorf("looking changed the folder (-before +after):\n%s", diff)
			}
		})
	}
	// What was killed goes on as if nobody had looked.
	s = reopen(t, "sqlite:"+killed)
	if next, _ := position(t, s, orders()); next != 5 {
		t.Errorf("after the look the position is %d, want 5", next)
	}
	closed(t, s)
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o750); err != nil {
		t.Fatal(err)
	}
	// The shared memory is not copied: after a crash of the machine it is gone.
	for _, name := range []string{"clerk.db", "clerk.db-wal"} {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// contents returns the folder's files that hold state. SQLite's shared memory
// and an empty write-ahead log are bookkeeping.
func contents(t *testing.T, folder string) map[string]string {
	t.Helper()
	out := map[string]string{}
	files, err := filepath.Glob(filepath.Join(folder, "clerk", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(f)] = string(data)
	}
	maps.DeleteFunc(out, func(name, text string) bool { return name == "clerk.db-shm" || name == "clerk.db-wal" && text == "" })
	return out
}

// Everything in a snapshot is of one moment, and looking keeps nobody from
// writing.
func TestASnapshotIsOfOneMoment(t *testing.T) { onEach(t, testASnapshotIsOfOneMoment) }

func testASnapshotIsOfOneMoment(t *testing.T, empty maker) {
	url := empty(t)
	s := openIn(t, url)
	r := openReadOnly(t, url)
	for round := range 20 {
		if err := r.Snapshot(t.Context(), func(snapshot *storage.Snapshot) error {
			left := side(t, snapshot, "left")
			moveOne(t, s)
			if right := side(t, snapshot, "right"); left != round || right != -round {
				t.Errorf("round %d saw %d and, after a change, %d", round, left, right)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// moveOne changes both sides of the pair in one transaction.
func moveOne(t *testing.T, s *storage.Store) {
	t.Helper()
	update(t, s, func(ctx context.Context, tx *storage.Tx) error {
		_, left := tx.Exec(ctx, addLeft, 1)
		_, right := tx.Exec(ctx, addRight, -1)
		return errors.Join(left, right)
	})
}

// side reads the two halves of the pair by queries of their own.
func side(t *testing.T, s *storage.Snapshot, name string) (value int) {
	t.Helper()
	rows, err := s.Query(t.Context(), `SELECT value FROM pair WHERE side = $1`, name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := rows.Scan(&value); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestAReaderCannotWrite(t *testing.T) { onEach(t, testAReaderCannotWrite) }

func testAReaderCannotWrite(t *testing.T, empty maker) {
	url := empty(t)
	s := openIn(t, url)
	fill(t, s)
	r := openReadOnly(t, url)
	if err := r.Snapshot(t.Context(), func(s *storage.Snapshot) error {
		rows, err := s.Query(t.Context(), `DELETE FROM positions RETURNING topic`)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			t.Error("a row was deleted")
		}
		return rows.Err()
	}); err == nil {
		t.Error("a statement that writes was accepted")
	}
	if next, _ := position(t, s, orders()); next != 5 {
		t.Errorf("position %d, want 5", next)
	}
}

func TestReadOnlyOfWhatIsNotThere(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "nobody")
	if _, err := storage.OpenReadOnly(t.Context(), "sqlite:"+folder, "clerk"); !errors.Is(err, storage.ErrMissing) {
		t.Errorf("error %v, want ErrMissing", err)
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder was made: %v", err)
	}
	if _, err := storage.OpenReadOnly(t.Context(), "mysql:x", "clerk"); !errors.Is(err, storage.ErrUnsupportedURL) {
		t.Errorf("error %v, want ErrUnsupportedURL", err)
	}
}

func TestAReaderKnowsForeignStorage(t *testing.T) { onEach(t, testAReaderKnowsForeignStorage) }

func testAReaderKnowsForeignStorage(t *testing.T, empty maker) {
	url := empty(t)
	fill(t, openIn(t, url))
	r := openReadOnly(t, url)
	for identity, want := range map[string]error{"one": nil, "another": storage.ErrForeign} {
		err := r.Snapshot(t.Context(), func(s *storage.Snapshot) error {
			return s.CheckStamp(t.Context(), map[string]string{"cluster": identity, "topic new": "x"})
		})
		if !errors.Is(err, want) {
			t.Errorf("cluster %s: error %v, want %v", identity, err, want)
		}
	}
}
