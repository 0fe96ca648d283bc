package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrDisk: the disk did not keep what was written, or took no more of it. What
// the broker had acknowledged is stored; it stops, and acknowledges nothing else.
var ErrDisk = errors.New("the broker cannot store what it was given")

// disk makes durable what kfake writes, before any answer leaves: kfake itself
// would sync each batch, and not look at the error. Answers that wait at the same
// time share a round.
type disk struct {
	dir   string // the broker's folder
	sync  func(path string) error
	log   *slog.Logger
	asked atomic.Uint64 // rounds asked for

	failed chan error // gets the failure

	mu      sync.Mutex
	covered uint64 // of those asked for, what is done
	failure error
	folders place              // of partitions
	names   []string           // in it
	logs    map[string]tail    // by partition folder
	entries map[string]version // of entryLogs
	states  map[string]version // of stateFiles
	seal    *seal
	ends    endings
}

// tail is a log's last segment as it was when it was last synced.
type tail struct {
	dir  place // the log's folder
	base int64
	path string // "": there is none
	version
}

// place is a folder as it was when it was last listed.
type place struct {
	version
	settled bool // a change since would show
}

// settling is longer than a file system's clock takes from one tick to the next:
// two changes at the same time look like one.
const settling = time.Second

// look says whether a folder is as it was, and how it is now.
func (p place) look(path string) (now place, unchanged bool) {
	v, err := versionOf(path)
	if err != nil || v.file == nil {
		return place{}, false
	}
	return place{v, time.Since(v.changed) > settling}, p.settled && v.same(p.version)
}

// version tells one state of a file from another.
type version struct {
	size    int64
	changed time.Time
	file    os.FileInfo
}

func versionOf(path string) (version, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return version{}, nil
	}
	if err != nil {
		return version{}, err
	}
	return version{info.Size(), info.ModTime(), info}, nil
}

func (v version) same(w version) bool {
	return v.size == w.size && v.changed.Equal(w.changed) && (v.file == nil && w.file == nil || os.SameFile(v.file, w.file))
}

func (d *disk) path(names ...string) string {
	return filepath.Join(append([]string{d.dir, logFolder}, names...)...)
}

// flush returns once all that was written before the call is on disk. A failed
// sync is for good, and [disk.failed] gets it: what the disk has after it is not
// known, and a second sync would find nothing left to do. Any other error may be
// over at the next call.
func (d *disk) flush() error {
	mine := d.asked.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failure != nil || d.covered >= mine {
		return d.failure
	}
	covers := d.asked.Load()
	err := d.round()
	var unsynced *syncError
	if errors.As(err, &unsynced) {
		d.fail(err)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	d.covered = covers
	return nil
}

// fail ends the broker. The caller has the lock.
func (d *disk) fail(err error) {
	if d.failure == nil {
		d.failure = fmt.Errorf("%w: %w", ErrDisk, err)
		d.log.Error("the broker acknowledges nothing more and stops", "error", d.failure)
		d.failed <- d.failure
	}
}

// round syncs what has changed since the round before.
func (d *disk) round() error {
	if err := d.syncLogs(); err != nil {
		return err
	}
	for _, name := range entryLogs() {
		now, err := versionOf(d.path(name))
		if err != nil {
			return err
		}
		if now.file == nil || now.same(d.entries[name]) {
			continue
		}
		if err := d.sync(d.path(name)); err != nil {
			return err
		}
		d.entries[name] = now
	}
	if err := d.sealStates(); err != nil {
		return err
	}
	return d.keepEnds()
}

// syncLogs syncs the segments that have grown.
func (d *disk) syncLogs() error {
	if now, unchanged := d.folders.look(d.path(partsFolder)); !unchanged {
		entries, err := os.ReadDir(d.path(partsFolder))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		d.folders, d.names = now, nil
		for _, e := range entries {
			d.names = append(d.names, e.Name())
		}
	}
	for _, name := range d.names {
		if err := d.syncLog(name); err != nil && !errors.Is(err, os.ErrNotExist) { // a topic was deleted meanwhile
			return err
		}
	}
	return nil
}

// syncLog looks at a log's folder only where a segment may have been begun: this
// runs for nearly every answer.
func (d *disk) syncLog(folder string) error {
	l := d.logs[folder]
	dir, unchanged := l.dir.look(d.path(partsFolder, folder))
	if !unchanged {
		return d.syncSegments(folder, dir)
	}
	if l.path == "" {
		return nil
	}
	now, err := versionOf(l.path)
	if err != nil || now.same(l.version) {
		return err
	}
	if err := d.sync(l.path); err != nil {
		return err
	}
	l.version = now
	d.logs[folder] = l
	return nil
}

// syncSegments syncs the segments of a log from the one on that was its last.
func (d *disk) syncSegments(folder string, dir place) error {
	all, err := segments(d.path(partsFolder, folder))
	if err != nil {
		return err
	}
	known, found := d.logs[folder]
	found = found && known.path != ""
	if at := slices.IndexFunc(all, func(s segment) bool { return s.base >= known.base }); at > 0 {
		if all[at].base == known.base {
			all = all[at:] // what comes before is on disk
		} else { // a new log in the place of a deleted one
			known, found = tail{}, false
		}
	} else if at < 0 {
		known, found = tail{}, false
	}
	if !found {
		all = all[max(0, len(all)-2):]
	}
	last := known
	for i := range all {
		now, err := versionOf(all[i].path)
		if err != nil {
			return err
		}
		if now.file == nil || found && all[i].base == known.base && now.same(known.version) {
			continue
		}
		if err := d.sync(all[i].path); err != nil && !errors.Is(err, os.ErrNotExist) { // trimmed meanwhile
			return err
		}
		last = tail{base: all[i].base, path: all[i].path, version: now}
	}
	if last.path != "" && (!found || last.base != known.base) { // its name has to last as well
		if err := errors.Join(d.sync(d.path(partsFolder, folder)), d.sync(d.path(partsFolder))); err != nil {
			return err
		}
	}
	last.dir = dir
	d.logs[folder] = last
	return nil
}

// sealStates takes changed state files into the seal.
func (d *disk) sealStates() error {
	changed := false
	for _, name := range stateFiles() {
		now, err := versionOf(d.path(name))
		if err != nil {
			return err
		}
		if now.same(d.states[name]) {
			continue
		}
		content, err := os.ReadFile(d.path(name))
		switch {
		case errors.Is(err, os.ErrNotExist):
			delete(d.seal.Files, name)
		case err != nil:
			return err
		default:
			d.seal.Files[name] = string(content)
		}
		if name == topicsFile {
			if err := d.ends.learn(content); err != nil {
				return err
			}
		}
		d.states[name], changed = now, true
	}
	if !changed {
		return nil
	}
	if err := errors.Join(d.sync(d.path()), d.seal.write(d.dir)); err != nil {
		return err
	}
	return nil
}

// mark has the seal changed and written.
func (d *disk) mark(change func(*seal)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failure != nil {
		return d.failure
	}
	change(d.seal)
	return d.seal.write(d.dir)
}

// cutUnsynced shortens each log to what is known to be on disk, once kfake has
// stopped. What is beyond was never acknowledged; it might be read back now, and
// be gone after a power cut.
func (d *disk) cutUnsynced() error {
	folders, err := os.ReadDir(d.path(partsFolder))
	if err != nil {
		return fmt.Errorf("cut what is not on disk: %w", err)
	}
	for _, f := range folders {
		all, err := segments(d.path(partsFolder, f.Name()))
		if err != nil {
			return err
		}
		known := d.logs[f.Name()]
		for i := range all {
			size := int64(0)
			if all[i].base == known.base {
				size = known.size
			}
			info, err := os.Stat(all[i].path)
			if err == nil && all[i].base >= known.base && info.Size() > size {
				err = errors.Join(os.Truncate(all[i].path, size), d.sync(all[i].path))
			}
			if err != nil {
				return fmt.Errorf("cut what is not on disk: %w", err)
			}
		}
	}
	return nil
}

// end seals what kfake has left, once it has stopped. After a failure it takes
// off the logs what is not known to be on disk.
func (d *disk) end(logs map[string]mark, clock int64) error {
	err := d.flush()
	if d.ends.file != nil {
		err = errors.Join(err, d.ends.file.Close())
	}
	if err != nil {
		return errors.Join(err, d.cutUnsynced())
	}
	names := hints()
	for folder := range logs {
		names = append(names, filepath.Join(partsFolder, folder, snapshotFile))
	}
	left := map[string]uint32{}
	for _, name := range names {
		sum, err := fileSum(d.path(name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		left[name] = sum
	}
	return d.mark(func(s *seal) { s.Marks, s.Left, s.Clock = logs, left, max(s.Clock, clock) })
}

// stateFiles are the files that kfake replaces as a whole when what they say changes.
func stateFiles() []string {
	return []string{"meta.json", topicsFile, "acls.json", "sasl.json", configsFile, "quotas.json"}
}
