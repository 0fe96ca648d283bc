package broker

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// killed returns a folder as a broker leaves it that is killed after its last
// answer, with n records.
func killed(t *testing.T, n int) string {
	t.Helper()
	running, folder := t.TempDir(), t.TempDir()
	b, _ := begin(t, running)
	defer end(t, b)
	c := client(t, b)
	makeTopic(t, c)
	publish(t, c, time.Now(), values(n)...)
	copyTree(t, running, folder)
	return folder
}

// What was acknowledged and is not there is told by its offsets: no answer was
// given before its mark was written, whatever became of the process.
func TestAcknowledgedRecordsThatAreGoneAreReported(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(t *testing.T, log string)
		want string
		kept int
	}{
		"the partition's folder": {func(t *testing.T, log string) {
			if err := os.RemoveAll(filepath.Dir(log)); err != nil {
				t.Fatal(err)
			}
		}, "offsets 0 to 4 are missing", 0},
		"the segment": {func(t *testing.T, log string) {
			if err := os.Remove(log); err != nil {
				t.Fatal(err)
			}
		}, "offsets 0 to 4 are missing", 0},
		"whole batches at the end": {func(t *testing.T, log string) { truncate(t, log, 3, 0) }, "offsets 3 to 4 are missing", 3},
		"all of it but the file":   {func(t *testing.T, log string) { truncate(t, log, 0, 0) }, "offsets 0 to 4 are missing", 0},
		"half a batch at the end":  {func(t *testing.T, log string) { truncate(t, log, 4, 20) }, "offsets 4 to 4 were acknowledged", 4},
		"what the last batches were": {func(t *testing.T, log string) {
			info, err := os.Stat(log)
			if err != nil {
				t.Fatal(err)
			}
			truncate(t, log, 3, 0)
			if err := os.Truncate(log, info.Size()); err != nil { // zeros
				t.Fatal(err)
			}
		}, "offsets 3 to 4 were acknowledged", 3},
	} {
		t.Run(name, func(t *testing.T) {
			folder := killed(t, 5)
			c.harm(t, segmentsOf(t, folder)[0])
			before := tree(t, folder)
			_, err := Start(t.Context(), Config{Address: "127.0.0.1:0", Folder: folder})
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), testTopic+"-0") || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("started with %v, want %q", err, c.want)
			}
			unchanged(t, folder, before)
			if _, err := Salvage(folder, logger(&logBuffer{})); err != nil {
				t.Fatal(err)
			}
			b, _ := begin(t, folder)
			defer end(t, b)
			all := map[int64]string{}
			for i, v := range values(c.kept) {
				all[int64(i)] = v
			}
			cl := client(t, b)
			if got := read(t, cl); !maps.Equal(got, all) {
				t.Errorf("after salvage the log has %v, want %v", got, all)
			}
			if _, next := bounds(t, cl); next != 5 {
				t.Errorf("the log goes on at %d: an offset is given twice", next)
			}
		})
	}
}

// truncate leaves so many whole batches, and so many bytes of the next.
func truncate(t *testing.T, path string, batches int, bytes int64) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := int64(0)
	for range batches {
		at += header(raw[at : at+headerSize]).size()
	}
	if err := os.Truncate(path, at+bytes); err != nil {
		t.Fatal(err)
	}
}

// A write that was cut short was not acknowledged where the marks say where
// acknowledging ended; where they cannot, nobody says so.
func TestATornWriteIsToldForWhatItIs(t *testing.T) {
	if machineRun() == "" {
		t.Skip("this system does not tell one run of the machine from another")
	}
	for name, c := range map[string]struct {
		harm func(path string) error
		want string
	}{
		"the process was killed": {func(string) error { return nil }, "it was never acknowledged"},
		"the machine was started anew": {func(path string) error {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			_, rest, _ := strings.Cut(string(content), "\n")
			return os.WriteFile(path, []byte(endsLine("run another")+rest), 0o600)
		}, "it may have been acknowledged"},
		"the marks cannot be read": {func(path string) error {
			content, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path, append(content, "junk"...), 0o600))
		}, "it may have been acknowledged"},
		"there are no marks": {os.Remove, "it may have been acknowledged"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := killed(t, 2)
			next := int64(2)
			batch := batchOf(0, 1, recordOf(0, "cut short"))
			putAt(batch, &next)
			appendTo(t, segmentsOf(t, folder)[0], batch[:len(batch)-5])
			if err := c.harm(filepath.Join(folder, brokerFolder, endsFile)); err != nil {
				t.Fatal(err)
			}
			b, log := begin(t, folder)
			defer end(t, b)
			if !strings.Contains(log.String(), c.want) || strings.Count(log.String(), "acknowledged") != 1 {
				t.Errorf("the log does not say %q:\n%s", c.want, log)
			}
			if got := read(t, client(t, b)); len(got) != 2 {
				t.Errorf("the log has %v", got)
			}
		})
	}
}

// The marks do not grow without end.
func TestMarksAreTakenOverByTheSeal(t *testing.T) {
	folder, crashed := t.TempDir(), t.TempDir()
	b, _ := begin(t, folder)
	defer end(t, b)
	c := client(t, b)
	makeTopic(t, c)
	publish(t, c, time.Now(), values(9)...)
	b.disk.mu.Lock()
	b.disk.ends.at = endsSize // as after some thousand records
	b.disk.mu.Unlock()
	publish(t, c, time.Now(), "one more")
	info, err := os.Stat(filepath.Join(folder, brokerFolder, endsFile))
	if err != nil || info.Size() > 1<<10 {
		t.Fatalf("the file of marks has %d bytes, %v", info.Size(), err)
	}
	copyTree(t, folder, crashed)
	if err := os.RemoveAll(filepath.Dir(segmentsOf(t, crashed)[0])); err != nil {
		t.Fatal(err)
	}
	_, err = Start(t.Context(), Config{Address: "127.0.0.1:0", Folder: crashed})
	if want := fmt.Sprintf("offsets 0 to %d are missing", 9); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), want) {
		t.Errorf("started with %v, want %q", err, want)
	}
}
