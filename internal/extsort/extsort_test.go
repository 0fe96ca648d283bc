package extsort

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

type pair struct{ key, value string }

// read returns everything that sorters hold, in order.
func read(t interface {
	Helper()
	Fatal(...any)
}, sorters ...*Sorter) (out []pair) {
	t.Helper()
	r, err := Merge(sorters...)
	if err != nil {
		t.Fatal(err)
	}
	for r.Next() {
		out = append(out, pair{string(r.Key()), string(r.Value())})
	}
	if r.Err() != nil || r.Next() {
		t.Fatal("more after the end, or ", r.Err())
	}
	return out
}

// Whatever is added, in however many parts and sorters, and however often it
// is read between, comes out as a stable sort of it all.
func TestItSorts(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		item := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 'b', 255}), 0, 12)
		var sorters []*Sorter
		var want [][]pair
		for range rapid.IntRange(1, 3).Draw(t, "sorters") {
			s := New(dir, rapid.IntRange(0, 200).Draw(t, "memory"))
			defer func() { _ = s.Close() }()
			sorters, want = append(sorters, s), append(want, nil)
		}
		for range rapid.IntRange(1, 3).Draw(t, "readings") {
			for i, s := range sorters {
				for range rapid.IntRange(0, 40).Draw(t, "items") {
					key, value := item.Draw(t, "key"), item.Draw(t, "value")
					if err := s.Add(key, value); err != nil {
						t.Fatal(err)
					}
					want[i] = append(want[i], pair{string(key), string(value)})
				}
			}
			all := slices.Concat(want...)
			slices.SortStableFunc(all, func(a, b pair) int { return cmp.Compare(a.key, b.key) })
			if got := read(t, sorters...); !slices.Equal(got, all) {
				t.Fatalf("got %q, want %q", got, all)
			}
		}
	})
}

// Nothing is left in the folder, not even while the sorter has its file.
func TestItLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := New(dir, 100)
	for i := range 100 {
		if err := s.Add(fmt.Appendf(nil, "key-%d", i), bytes.Repeat([]byte{1}, 50)); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := s.file.Stat(); err != nil || info.Mode().Perm() != 0o600 || info.Size() == 0 {
		t.Errorf("%v, %v: want a file of its owner's alone", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || s.named != (len(left) > 0) {
		t.Errorf("%v, %v in the folder while it is used", left, err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("%v, %v in the folder afterwards", left, err)
	}
}

// A file that the system keeps a name of is removed at the end.
func TestAFileWithAName(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	s := New("", 0)
	s.file, s.named = file, true
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file.Name()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestFoldersAndFilesThatFail(t *testing.T) {
	s := New(filepath.Join(t.TempDir(), "missing"), 1)
	if err := s.Add([]byte("a"), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Add([]byte("b"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want that the folder is not there", err)
	}
	large := New(filepath.Join(t.TempDir(), "missing"), 1<<20)
	if err := large.Add([]byte("a"), make([]byte, few)); err != nil {
		t.Fatal(err)
	}
	if _, err := Merge(large); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want that the folder is not there", err)
	}
}

// A file that somebody has cut, wherever, is not taken for a whole one.
func TestAFileThatIsTooShort(t *testing.T) {
	for size := range int64(16) {
		torn := New(t.TempDir(), 1)
		if err := errors.Join(torn.Add([]byte("a"), []byte("value")), torn.Add([]byte("b"), []byte("value"))); err != nil {
			t.Fatal(err)
		}
		r, err := Merge(torn)
		if err != nil {
			t.Fatal(err)
		}
		if err := torn.file.Truncate(size); err != nil {
			t.Fatal(err)
		}
		for r.Next() {
		}
		if r.Err() == nil {
			t.Errorf("%d of 16 bytes are read as though they were all", size)
		}
		if err := torn.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestItemsFromSeveralGoroutines(t *testing.T) {
	s := New(t.TempDir(), 1000)
	defer func() { _ = s.Close() }()
	var adding sync.WaitGroup
	for g := range 4 {
		adding.Go(func() {
			for i := range 100 {
				if err := s.Add(fmt.Appendf(nil, "%d-%d", i, g), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	adding.Wait()
	if got := read(t, s); len(got) != 400 || !slices.IsSortedFunc(got, func(a, b pair) int { return cmp.Compare(a.key, b.key) }) {
		t.Errorf("%d items: %v", len(got), got)
	}
}

func BenchmarkSort(b *testing.B) {
	s := New(b.TempDir(), 32<<20)
	defer func() { _ = s.Close() }()
	value := bytes.Repeat([]byte{1}, 100)
	n := 0
	for b.Loop() {
		n++
		if err := s.Add(fmt.Appendf(nil, "order-%d", (n*7919)%1_000_003), value); err != nil {
			b.Fatal(err)
		}
	}
	r, err := Merge(s)
	if err != nil {
		b.Fatal(err)
	}
	for r.Next() {
	}
}
