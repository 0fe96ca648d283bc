package broker

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vigie-dev/vigie/internal/storage"
)

// ErrDamaged: files of the broker are not what was written to them. Nothing in
// the folder has been changed; [Salvage] gives up what is damaged, and keeps it.
var ErrDamaged = errors.New("the broker's files are damaged")

// Damage is one place that is not what was written there. It is [ErrDamaged].
type Damage struct {
	File string // its path
	At   int64  // the place in it, in bytes
	What string // what is wrong there
	// fix gives up what is damaged; nil: nothing can be done but restore a copy.
	fix func(*aside) error
}

// Error implements error.
func (d *Damage) Error() string { return fmt.Sprintf("%s at byte %d: %s", d.File, d.At, d.What) }

// Is implements errors.Is.
func (d *Damage) Is(target error) bool { return target == ErrDamaged }

// Salvage gives up what is damaged in a data folder's broker, which must not
// run, so that it starts again without. Damaged files are kept as they were below
// broker/aside; every whole record is left at its offset, and offsets whose
// records are lost are left without. It tells each step, and returns how many
// places were damaged. Where nothing is damaged it changes nothing.
func Salvage(folder string, log *slog.Logger) (places int, err error) {
	dir := filepath.Join(folder, brokerFolder)
	lock, err := storage.LockFolder(dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	a := newAside(dir)
	for {
		found, err := inspect(dir)
		if err != nil {
			return places, err
		}
		if len(found.damage) == 0 {
			return places, nil
		}
		// One place of each file at a time: what is beyond it is seen once it is gone.
		for _, d := range found.damage {
			if d.fix == nil {
				return places, fmt.Errorf("nothing helps here but a copy of the folder: %w", d)
			}
			if err := d.fix(a); err != nil {
				return places, fmt.Errorf("give up %s: %w", d.File, err)
			}
			places++
			log.Warn("damage is given up; what was there is kept aside", "file", d.File, "offset", d.At, "damage", d.What, "aside", a.dir)
		}
	}
}

// salvageable has a segment's damage fixed by making the segment anew from what
// is whole in it. next is the first offset after it, or -1 for a log's last.
func salvageable(err error, s *segment, next int64, gaps bool) error {
	var d *Damage
	if errors.As(err, &d) {
		d.fix = func(a *aside) error {
			raw, err := os.ReadFile(s.path)
			if err != nil {
				return fmt.Errorf("read segment: %w", err)
			}
			if err := a.keep(s.path, 0); err != nil {
				return err
			}
			return replaceFile(s.path, salvaged(raw, s.base, next, gaps), durable)
		}
	}
	return err
}

// salvaged returns a segment's whole batches, with holes where others were.
func salvaged(raw []byte, base, next int64, gaps bool) []byte {
	var kept []byte
	var newest int64
	c := &content{}
	defer c.close()
	expected := base
	for len(raw) > 0 {
		size, ok := whole(c, raw, expected, gaps)
		if !ok {
			skip, found := resume(c, raw, expected)
			if !found {
				break
			}
			raw = raw[skip:]
			kept = append(kept, hole(expected, header(raw).first()-1, newest)...)
			expected = header(raw).first()
			continue
		}
		expected, newest = header(raw).next(), header(raw).maxTime()
		kept = append(kept, raw[:size]...)
		raw = raw[size:]
	}
	if next < 0 && len(raw) > 0 && !torn(raw, expected) {
		next = expected + lost(raw)
	}
	if next > expected {
		kept = append(kept, hole(expected, next-1, newest)...)
	}
	return kept
}

// resume looks for the next whole batch after a damaged one.
func resume(c *content, raw []byte, expected int64) (skip int, found bool) {
	for skip = 1; skip+headerSize <= len(raw); skip++ {
		if raw[skip+atMagic] != magic {
			continue
		}
		_, ok := whole(c, raw[skip:], expected+1, true)
		if ok && header(raw[skip:]).first()-expected <= math.MaxInt32 {
			return skip, true
		}
	}
	return 0, false
}

// lost is how many offsets the damaged last batch of a log had, so that they are
// not given again.
func lost(raw []byte) int64 {
	const most = 1 << 20
	if len(raw) >= headerSize {
		if h := header(raw); h.count() > 0 && h.count() <= most && h.lastDelta() == h.count()-1 {
			return int64(h.count())
		}
	}
	return 1
}

// aside is where bytes go that the broker does without, a folder for each time.
type aside struct{ root, dir string }

func newAside(dir string) *aside {
	return &aside{root: dir, dir: filepath.Join(dir, asideFolder, time.Now().UTC().Format("20060102T150405.000000000Z"))}
}

// path is where a file's bytes go, from a place in it on.
func (a *aside) path(file string, from int64) (string, error) {
	if err := os.MkdirAll(a.dir, 0o750); err != nil {
		return "", fmt.Errorf("keep aside: %w", err)
	}
	name := strings.ReplaceAll(strings.TrimPrefix(strings.TrimPrefix(file, a.root), string(filepath.Separator)), string(filepath.Separator), "_")
	if from > 0 {
		name = fmt.Sprintf("%s@%d", name, from)
	}
	return filepath.Join(a.dir, name), nil
}

// keep copies a file's bytes, from a place in it on. One that is not there has none.
func (a *aside) keep(file string, from int64) (err error) {
	source, err := os.Open(file) //nolint:gosec // in the operator's folder
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("keep aside: %w", err)
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	path, err := a.path(file, from)
	if err != nil {
		return err
	}
	target, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // in the operator's folder
	if err != nil {
		return fmt.Errorf("keep aside: %w", err)
	}
	_, err = source.Seek(from, io.SeekStart)
	if err == nil {
		_, err = io.Copy(target, source)
	}
	if err = errors.Join(err, target.Sync(), target.Close(), syncFile(a.dir), syncFile(filepath.Dir(a.dir))); err != nil {
		return fmt.Errorf("keep aside: %w", err)
	}
	return nil
}

// cut takes what a file has from a place on, and keeps it.
func (a *aside) cut(file string, at int64) error {
	if err := a.keep(file, at); err != nil {
		return err
	}
	if err := os.Truncate(file, at); err != nil {
		return fmt.Errorf("cut: %w", err)
	}
	if err := syncFile(file); err != nil {
		return fmt.Errorf("cut: %w", err)
	}
	return nil
}

// move takes a file or folder as a whole.
func (a *aside) move(file string) error {
	path, err := a.path(file, 0)
	if err != nil {
		return err
	}
	if err := os.Rename(file, path); err != nil {
		return fmt.Errorf("keep aside: %w", err)
	}
	if err := errors.Join(syncFile(filepath.Dir(file)), syncFile(a.dir)); err != nil {
		return fmt.Errorf("keep aside: %w", err)
	}
	return nil
}
