package broker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// failing is a disk that fails once it is told to.
type failing struct{ now atomic.Bool }

func (f *failing) configure(cfg *Config) {
	cfg.sync = func(path string) error {
		if f.now.Load() {
			return &syncError{&os.PathError{Op: "sync", Path: path, Err: syscall.EIO}}
		}
		return syncFile(path)
	}
}

func TestARecordThatIsNotOnDiskIsNotAcknowledged(t *testing.T) {
	folder, disk := t.TempDir(), &failing{}
	b, log := begin(t, folder, disk.configure)
	c := client(t, b)
	makeTopic(t, c)
	publish(t, c, time.Now(), "stored")
	disk.now.Store(true)
	for range 3 {
		if err := tryPublish(c, time.Now(), "not stored"); err == nil {
			t.Fatal("a record was acknowledged whose sync had failed")
		}
	}
	if err := <-b.Failed(); !errors.Is(err, ErrDisk) || !errors.Is(err, syscall.EIO) {
		t.Errorf("failed with %v, want ErrDisk", err)
	}
	if !strings.Contains(log.String(), "acknowledges nothing more") {
		t.Errorf("the log does not tell:\n%s", log)
	}
	disk.now.Store(false) // a second sync after a failed one has nothing to say
	if err := tryPublish(c, time.Now(), "later"); err == nil {
		t.Error("a record was acknowledged after a failed sync")
	}
	if err := b.Close(); !errors.Is(err, ErrDisk) {
		t.Errorf("closed with %v, want ErrDisk", err)
	}

	b, _ = begin(t, folder)
	defer end(t, b)
	if got := read(t, client(t, b)); len(got) != 1 || got[0] != "stored" {
		t.Errorf("after a restart the log has %v", got)
	}
}

func TestWhatIsAcknowledgedHasBeenSynced(t *testing.T) {
	var mu sync.Mutex
	synced := map[string]int64{}
	folder := t.TempDir()
	b, _ := begin(t, folder, func(cfg *Config) {
		cfg.sync = func(path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			synced[path] = info.Size()
			return syncFile(path)
		}
	})
	defer end(t, b)
	c := client(t, b)
	makeTopic(t, c, "segment.bytes", "150")
	for _, v := range values(8) {
		publish(t, c, time.Now(), v)
		mu.Lock()
		for _, path := range segmentsOf(t, folder) {
			if info, err := os.Stat(path); err != nil || synced[path] != info.Size() {
				t.Errorf("%s: %d bytes are synced, %+v, %v", path, synced[path], info, err)
			}
			if _, ok := synced[filepath.Dir(path)]; !ok {
				t.Errorf("the name of %s is not", path)
			}
		}
		mu.Unlock()
	}
}

// A topic that is made again has files of the same names, and lower offsets.
func TestATopicThatIsMadeAgainIsSynced(t *testing.T) {
	dir, synced := t.TempDir(), map[string]bool{}
	d := newDisk(dir, &seal{Files: map[string]string{}}, func(path string) error { synced[filepath.Base(path)] = true; return nil }, logger(&logBuffer{}))
	log := d.path(partsFolder, testTopic+"-0")
	write := func(bases ...int64) {
		t.Helper()
		for _, base := range bases {
			if err := fillGap(log, base, base+1, 1); err != nil {
				t.Fatal(err)
			}
		}
		clear(synced)
		if err := d.flush(); err != nil {
			t.Fatal(err)
		}
	}
	write(3, 4)
	if err := os.RemoveAll(log); err != nil {
		t.Fatal(err)
	}
	write(0, 1)
	if !synced["0.dat"] || !synced["1.dat"] {
		t.Errorf("synced %v", synced)
	}
	write(2)
	if synced["1.dat"] || !synced["2.dat"] {
		t.Errorf("of what was synced and what is new, synced %v", synced)
	}
}

func TestAWriteThatFailsIsToldToTheProducer(t *testing.T) {
	folder := t.TempDir()
	b, _ := begin(t, folder)
	c := client(t, b)
	makeTopic(t, c)
	if err := os.WriteFile(logFile(folder, partsFolder), nil, 0o600); err != nil { // no folder can be made there
		t.Fatal(err)
	}
	if err := tryPublish(c, time.Now(), "not stored"); err == nil {
		t.Error("a record was acknowledged that could not be written")
	}
	if err := <-b.Failed(); !errors.Is(err, ErrDisk) {
		t.Errorf("failed with %v, want ErrDisk", err)
	}
	_ = b.Close()
}

// A full disk is waited for; kfake tells the producer. Anything else that kfake
// goes on without ends the broker.
func TestWhatKfakeCannotStoreEndsTheBroker(t *testing.T) {
	for _, c := range []struct {
		format string
		err    error
		ends   bool
	}{
		{"persist batch %s-%d: %v", syscall.ENOSPC, false},
		{"persist batch %s-%d: %v", syscall.EDQUOT, false},
		{"persist batch %s-%d: %v", syscall.EIO, true},
		{"persist topics %s-%d: %v", syscall.ENOSPC, true},
		{"something else %s-%d: %v", syscall.EIO, false},
	} {
		log := &logBuffer{}
		d := newDisk(t.TempDir(), &seal{}, syncFile, logger(log))
		l := &listener{log: logger(log), disk: d}
		l.Logf(kfake.LogLevelWarn, c.format, "t", 0, &os.PathError{Op: "write", Path: "0.dat", Err: c.err})
		if ended := d.failure != nil; ended != c.ends || log.String() == "" {
			t.Errorf("%s with %v: ended %t, want %t; told %q", c.format, c.err, ended, c.ends, log)
		}
	}
}
