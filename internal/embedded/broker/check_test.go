package broker

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func look(t *testing.T, folder string) *inspection {
	t.Helper()
	found, err := inspect(filepath.Join(folder, brokerFolder))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// One flipped bit, wherever it is in whatever file, never takes away what was
// acknowledged: it is refused, or what it hits is made again.
func TestEveryFlippedBitIsFound(t *testing.T) {
	killed, stopped := filled(t, 5)
	all, err := segments(filepath.Dir(segmentsOf(t, killed)[0]))
	if err != nil || len(all) != 3 {
		t.Fatalf("%d segments, want 3: %v", len(all), err)
	}
	for i := range all {
		eachBit(t, all[i].path, func(at int64, bit int) {
			s := segment{path: all[i].path, base: all[i].base}
			if err := s.scan(&content{}, i == 2, false); !errors.Is(err, ErrDamaged) {
				t.Fatalf("bit %d at byte %d of %s: %v", bit, at, s.path, err)
			}
		})
	}
	groups := logFile(stopped, "pids.log")
	eachBit(t, groups, func(at int64, bit int) {
		if _, _, err := checkEntries(groups); !errors.Is(err, ErrDamaged) {
			t.Fatalf("bit %d at byte %d of %s: %v", bit, at, groups, err)
		}
	})
	dir := filepath.Join(stopped, brokerFolder)
	eachBit(t, filepath.Join(dir, sealFile), func(at int64, bit int) {
		if _, err := readSeal(dir); !errors.Is(err, ErrDamaged) {
			t.Fatalf("bit %d at byte %d of the seal: %v", bit, at, err)
		}
	})
}

func TestFilesThatAreMadeAgainAreRight(t *testing.T) {
	_, folder := filled(t, 5)
	// What differs from one writing to the next is the time of a snapshot's making.
	if err := look(t, folder).repair(slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	segment := segmentsOf(t, folder)[1]
	index := strings.TrimSuffix(segment, segmentSuffix) + indexSuffix
	snapshot := filepath.Join(filepath.Dir(segment), snapshotFile)
	for _, path := range []string{index, snapshot, logFile(folder, topicsFile), logFile(folder, "meta.json"), logFile(folder, configsFile)} {
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		stable := func(b []byte) []byte { b, _, _ = bytes.Cut(b, []byte("created_at")); return b }
		for at := 0; at < len(before); at += 1 + len(before)/40 {
			flip(t, path, int64(at), at%8)
			found := look(t, folder)
			if err := errors.Join(found.err(), found.repair(slog.New(slog.DiscardHandler))); err != nil {
				t.Fatalf("bit at byte %d of %s: %v", at, path, err)
			}
			after, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(stable(before), stable(after)) {
				t.Fatalf("bit at byte %d of %s: now %q, %v", at, path, after, err)
			}
		}
	}
}

func TestDamageRefusesTheStartAndChangesNothing(t *testing.T) {
	folder, _ := filled(t, 5)
	damaged := segmentsOf(t, folder)[1]
	flip(t, damaged, 80, 3)
	before := tree(t, folder)
	_, err := Start(t.Context(), Config{Address: "127.0.0.1:0", Folder: folder})
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), damaged) || !strings.Contains(err.Error(), "offset 2") {
		t.Errorf("start on a damaged log: %v, want ErrDamaged that names %s and offset 2", err, damaged)
	}
	unchanged(t, folder, before)
}

// A write that was cut short leaves the start of a batch, of any length.
func TestATornWriteIsCutAndTold(t *testing.T) {
	killed, _ := filled(t, 6)
	dropMark(t, killed) // the broker was killed before it had the last one synced
	last := segmentsOf(t, killed)[2]
	whole, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	batch := len(whole) / 2
	for length := range batch {
		content := whole[:batch+length]
		if err := os.WriteFile(last, content, 0o600); err != nil {
			t.Fatal(err)
		}
		found := look(t, killed)
		if err := found.err(); err != nil {
			t.Fatalf("%d of %d bytes: %v", length, batch, err)
		}
		if p := found.logs[0]; p.end != 5 || p.segments[2].size != int64(batch) {
			t.Fatalf("%d of %d bytes: the log ends at %d", length, batch, p.end)
		}
	}

	torn := whole[batch : 2*batch-7]
	folder := t.TempDir()
	copyTree(t, killed, folder)
	last = segmentsOf(t, folder)[2]
	if err := os.WriteFile(last, whole[:2*batch-7], 0o600); err != nil {
		t.Fatal(err)
	}
	b, log := begin(t, folder)
	defer end(t, b)
	c := client(t, b)
	if got := read(t, c); len(got) != 5 || got[4] != values(5)[4] {
		t.Errorf("%d records after the cut, want 5", len(got))
	}
	if text := log.String(); !strings.Contains(text, last) || !strings.Contains(text, "cut short") {
		t.Errorf("the log does not tell of the cut of %s:\n%s", last, text)
	}
	kept, err := filepath.Glob(filepath.Join(folder, brokerFolder, asideFolder, "*", "*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept aside: %v, %v", kept, err)
	}
	if content, err := os.ReadFile(kept[0]); err != nil || !bytes.Equal(content, torn) {
		t.Errorf("%d bytes are kept of %d, %v", len(content), len(torn), err)
	}
	publish(t, c, time.Now(), "next")
	if got := read(t, c); got[5] != "next" {
		t.Errorf("after the cut the next record is not at offset 5: %v", got)
	}
}

// dropMark takes the last mark out of the file of ends.
func dropMark(t *testing.T, folder string) {
	t.Helper()
	path := filepath.Join(folder, brokerFolder, endsFile)
	content, err := os.ReadFile(path)
	if err == nil {
		lines := strings.SplitAfter(string(content), "\n")
		err = os.WriteFile(path, []byte(strings.Join(lines[:len(lines)-2], "")), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Zeros are what a file has that grew without what was written to it.
func TestZerosAtTheEndAreATornWrite(t *testing.T) {
	folder, _ := filled(t, 5)
	last := segmentsOf(t, folder)[2]
	f, err := os.OpenFile(last, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(make([]byte, 5000))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	b, _ := begin(t, folder)
	defer end(t, b)
	if got := read(t, client(t, b)); len(got) != 5 {
		t.Errorf("%d records, want 5", len(got))
	}
}

// What is lost with its file leaves no trace in the files that are left.
func TestMissingFilesAreFound(t *testing.T) {
	for name, lose := range map[string]func(all []string){
		"first":  func(all []string) { _ = os.Remove(all[0]) },
		"middle": func(all []string) { _ = os.Remove(all[1]) },
		"last":   func(all []string) { _ = os.Remove(all[2]) },
		"all":    func(all []string) { _ = os.RemoveAll(filepath.Dir(all[0])) },
		"shorter": func(all []string) {
			_ = os.Truncate(all[1], 50)
		},
		"empty": func(all []string) { _ = os.Truncate(all[1], 0) },
	} {
		t.Run(name, func(t *testing.T) {
			_, folder := filled(t, 5)
			lose(segmentsOf(t, folder))
			if err := look(t, folder).err(); !errors.Is(err, ErrDamaged) {
				t.Errorf("found %v", err)
			}
		})
	}
}

func TestSalvageKeepsEveryWholeRecordAtItsOffset(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, all []string)
		lost  []int64
		next  int64
	}{
		"records":      {func(t *testing.T, all []string) { flip(t, all[1], 80, 0) }, []int64{2}, 5},
		"length":       {func(t *testing.T, all []string) { flip(t, all[1], atLength+2, 4) }, []int64{2}, 5},
		"first offset": {func(t *testing.T, all []string) { flip(t, all[1], 7, 6) }, []int64{2}, 5},
		"last":         {func(t *testing.T, all []string) { flip(t, all[2], 80, 0) }, []int64{4}, 5},
		"two":          {func(t *testing.T, all []string) { flip(t, all[0], 80, 0); flip(t, all[2], 80, 0) }, []int64{0, 4}, 5},
		"missing file": {func(_ *testing.T, all []string) { _ = os.Remove(all[1]) }, []int64{2, 3}, 5},
		"missing end":  {func(_ *testing.T, all []string) { _ = os.Remove(all[2]) }, []int64{4}, 5},
		"missing all":  {func(_ *testing.T, all []string) { _ = os.RemoveAll(filepath.Dir(all[0])) }, []int64{0, 1, 2, 3, 4}, 5},
		"cut file":     {func(_ *testing.T, all []string) { _ = os.Truncate(all[1], 50) }, []int64{2, 3}, 5},
		"seal":         {func(t *testing.T, all []string) { flip(t, filepath.Join(all[0], "../../../..", sealFile), 9, 0) }, nil, 5},
	} {
		t.Run(name, func(t *testing.T) {
			_, folder := filled(t, 5)
			c.spoil(t, segmentsOf(t, folder))
			log := &logBuffer{}
			places, err := Salvage(folder, slog.New(slog.NewTextHandler(log, nil)))
			if err != nil || places == 0 || !strings.Contains(log.String(), asideFolder) {
				t.Fatalf("salvaged %d places, %v:\n%s", places, err, log)
			}
			b, _ := begin(t, folder)
			defer end(t, b)
			client := client(t, b)
			want := values(5)
			got := read(t, client)
			for _, offset := range c.lost {
				want[offset] = ""
			}
			for offset, value := range want {
				if got[int64(offset)] != value {
					t.Errorf("offset %d has %.20q, want %.20q", offset, got[int64(offset)], value)
				}
			}
			if _, next := bounds(t, client); next != c.next {
				t.Errorf("the log goes on at %d, want %d", next, c.next)
			}
		})
	}
}

func TestSalvageLeavesAWholeFolderAlone(t *testing.T) {
	_, folder := filled(t, 3)
	before := tree(t, folder)
	if places, err := Salvage(folder, slog.New(slog.DiscardHandler)); places != 0 || err != nil {
		t.Errorf("salvaged %d places, %v", places, err)
	}
	unchanged(t, folder, before)
}

// A folder from before there were seals is taken as it is.
func TestAFolderWithoutASealStarts(t *testing.T) {
	_, folder := filled(t, 3)
	if err := os.Remove(filepath.Join(folder, brokerFolder, sealFile)); err != nil {
		t.Fatal(err)
	}
	b, _ := begin(t, folder)
	defer end(t, b)
	if got := read(t, client(t, b)); len(got) != 3 {
		t.Errorf("%d records, want 3", len(got))
	}
}

func FuzzSegment(f *testing.F) {
	record := append(hole(0, 0, 7), []byte("not empty")...)
	f.Add(record)
	f.Add(append(hole(0, 4, 7), hole(5, 5, 8)...))
	f.Fuzz(func(t *testing.T, written []byte) {
		path := filepath.Join(t.TempDir(), "0"+segmentSuffix)
		if err := os.WriteFile(path, written, 0o600); err != nil {
			t.Fatal(err)
		}
		s := segment{path: path}
		err := s.scan(&content{}, true, false)
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
		if err == nil && s.size+s.torn != int64(len(written)) {
			t.Fatalf("%d bytes are whole and %d torn, of %d", s.size, s.torn, len(written))
		}
		fixed := salvaged(written, 0, -1, false)
		if err := os.WriteFile(path, fixed, 0o600); err != nil {
			t.Fatal(err)
		}
		again := segment{path: path}
		if err := again.scan(&content{}, true, false); err != nil || again.torn > 0 || again.next < s.next {
			t.Fatalf("after salvage: %+v, %v", again, err)
		}
	})
}

func FuzzEntries(f *testing.F) {
	f.Add([]byte("\x04\x00\x00\x00abcd\x01\x00{}"))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		good, size, err := checkEntries(path)
		if good > size || size != int64(len(content)) || err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatalf("%d of %d, %v", good, size, err)
		}
	})
}
