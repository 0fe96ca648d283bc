package broker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// inspection is what a look at a broker's folder found. Looking changes nothing.
type inspection struct {
	dir    string
	seal   *seal // nil: there is none
	ends   ends
	topics []topic
	logs   []*partition
	damage []*Damage
	// repairs bring the folder into the state that kfake finds everything in.
	// None takes anything away that was acknowledged.
	repairs []repair
	content content // looks into batches
}

// repair is one change to the folder, and what to tell of it; an untold one is
// everyday.
type repair struct {
	do   func(*aside) error
	tell string
	args []any
}

// topic is what kfake's topics.json says of one.
type topic struct {
	Name       string            `json:"name"`
	ID         string            `json:"id"`
	Partitions int               `json:"partitions"`
	Configs    map[string]string `json:"configs"`
}

func (t topic) compacted() bool { return strings.Contains(t.Configs["cleanup.policy"], "compact") }

// partition is a partition's log: what it holds, and what it has to.
type partition struct {
	topic    topic
	folder   string // its name
	dir      string
	segments []segment
	// start and end: the first offset that may be read, and the one after the last.
	start, end int64
}

// inspect checks every file of a broker's folder, before kfake opens any of them:
// kfake truncates a segment at the first batch that does not match its checksum,
// and with it deletes all that comes after.
func inspect(dir string) (*inspection, error) {
	found := &inspection{dir: dir}
	defer found.content.close()
	var err error
	if found.seal, err = readSeal(dir); err != nil {
		if err := found.add(err); err != nil {
			return nil, err
		}
	}
	if found.ends, err = readEnds(dir); err != nil {
		return nil, err
	}
	for _, step := range []func() error{
		found.checkStateFiles, found.checkHints, found.checkEntryLogs, found.readTopics, found.checkPartitions, found.checkOrphans,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// path is that of one of kfake's files.
func (f *inspection) path(name string) string { return filepath.Join(f.dir, logFolder, name) }

// add takes damage over, and returns every other error.
func (f *inspection) add(err error) error {
	var d *Damage
	if errors.As(err, &d) {
		f.damage = append(f.damage, d)
		return nil
	}
	return err
}

// checkStateFiles compares the state files with what was acknowledged of them.
// Another content is damage, or a change whose request nobody saw answered:
// either way what was acknowledged is put back.
func (f *inspection) checkStateFiles() error {
	if f.seal == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(f.seal.Files)) {
		path, wanted := f.path(name), f.seal.Files[name]
		has, err := os.ReadFile(path) //nolint:gosec // in the operator's folder
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("check %s: %w", name, err)
		}
		if err == nil && string(has) == wanted {
			continue
		}
		f.repairs = append(f.repairs, repair{
			tell: "a state file of the broker is not what was last acknowledged, which is used; what it held is kept aside",
			args: []any{"file", path},
			do: func(a *aside) error {
				return errors.Join(a.keep(path, 0), replaceFile(path, []byte(wanted), durable))
			},
		})
	}
	return nil
}

// checkHints drops what a clean stop leaves for the next start, unless it is
// what that stop left.
func (f *inspection) checkHints() error {
	for _, name := range hints() {
		if err := f.checkHint(name); err != nil {
			return err
		}
	}
	return nil
}

func (f *inspection) checkHint(name string) error {
	path := f.path(name)
	sum, err := fileSum(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	drop := repair{do: func(*aside) error { return removeFile(path) }}
	if f.seal == nil {
		return nil
	}
	left, stopped := f.seal.Left[name]
	switch {
	case stopped && left == sum:
		return nil
	case stopped:
		drop.tell, drop.args = "a file that the last stop left is damaged; the broker does without it", []any{"file", path}
	}
	f.repairs = append(f.repairs, drop)
	return nil
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove file: %w", err)
	}
	return nil
}

// checkEntryLogs checks what kfake keeps of groups and producers. kfake reads up
// to the first entry that is not whole, and appends after the rest.
func (f *inspection) checkEntryLogs() error {
	for _, name := range entryLogs() {
		path := f.path(name)
		good, size, err := checkEntries(path)
		if err != nil {
			var d *Damage
			if errors.As(err, &d) {
				d.fix = func(a *aside) error { return a.cut(path, good) }
			}
			if err := f.add(err); err != nil {
				return err
			}
			continue
		}
		if good < size {
			f.cut(path, good, size-good, "")
		}
	}
	return nil
}

// cut plans to take a torn write off a file's end. worth says whether it may have
// been acknowledged.
func (f *inspection) cut(path string, at, bytes int64, worth string) {
	f.repairs = append(f.repairs, repair{
		tell: "a write was cut short when the broker ended" + worth + ". Its bytes are kept aside",
		args: []any{"file", path, "offset", at, "bytes", bytes},
		do:   func(a *aside) error { return a.cut(path, at) },
	})
}

// readTopics reads which topics there are, as they were acknowledged.
func (f *inspection) readTopics() error {
	content, path := []byte(nil), f.path(topicsFile)
	if f.seal != nil {
		content = []byte(f.seal.Files[topicsFile])
	}
	if len(content) == 0 {
		var err error
		content, err = os.ReadFile(path) //nolint:gosec // in the operator's folder
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("check topics: %w", err)
		}
	}
	topics, err := parseTopics(content)
	if err != nil {
		return f.add(&Damage{File: path, What: err.Error()})
	}
	f.topics = topics
	return nil
}

func parseTopics(content []byte) ([]topic, error) {
	var file struct {
		Topics []topic `json:"topics"`
	}
	if err := json.Unmarshal(content, &file); err != nil {
		return nil, fmt.Errorf("read topics: %w", err)
	}
	return file.Topics, nil
}

func (f *inspection) checkPartitions() error {
	for _, t := range f.topics {
		for number := range t.Partitions {
			folder := folderOf(t.Name, number)
			p := &partition{topic: t, folder: folder, dir: f.path(filepath.Join(partsFolder, folder))}
			f.logs = append(f.logs, p)
			if err := f.checkPartition(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkOrphans looks for partitions of no topic. What was acknowledged of topics
// being known, they are left of a topic whose creation or deletion nobody saw
// answered; a topic of the same name would write into them.
func (f *inspection) checkOrphans() error {
	entries, err := os.ReadDir(f.path(partsFolder))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("check partitions: %w", err)
	}
	for _, e := range entries {
		if slices.ContainsFunc(f.logs, func(p *partition) bool { return p.folder == e.Name() }) || !e.IsDir() {
			continue
		}
		path := f.path(filepath.Join(partsFolder, e.Name()))
		if f.seal == nil {
			f.damage = append(f.damage, &Damage{
				File: path, What: "no topic has this partition",
				fix: func(a *aside) error { return a.move(path) },
			})
			continue
		}
		f.repairs = append(f.repairs, repair{
			tell: "a partition of no topic is kept aside", args: []any{"folder", path},
			do: func(a *aside) error { return a.move(path) },
		})
	}
	return nil
}

// repair makes the planned changes.
func (f *inspection) repair(log *slog.Logger) error {
	a := newAside(f.dir)
	for _, r := range f.repairs {
		if err := r.do(a); err != nil {
			return fmt.Errorf("repair the broker's folder: %w", err)
		}
		if r.tell != "" {
			log.Warn("the broker's folder is not as it was left, and put right", append(r.args, "why", r.tell, "aside", a.dir)...)
		}
	}
	return nil
}

// err is what was found damaged, or nil.
func (f *inspection) err() error {
	if len(f.damage) == 0 {
		return nil
	}
	all := make([]error, len(f.damage))
	for i, d := range f.damage {
		all[i] = d
	}
	return fmt.Errorf("%w, and nothing was changed: %w", ErrDamaged, errors.Join(all...))
}

// The layout of an entry of kfake's groups.log and pids.log: a length that counts
// from after the checksum, CRC-32C, a version, and JSON.
const (
	entrySum     = 4
	entryBody    = 8
	entryLeast   = 2
	entryVersion = 1
)

// checkEntries reads a log of entries and returns how many of its bytes are whole
// entries. What comes after them is a torn write; anything else is a [*Damage].
func checkEntries(path string) (good, size int64, err error) {
	raw, err := os.ReadFile(path) //nolint:gosec // in the operator's folder
	if errors.Is(err, os.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("check entries: %w", err)
	}
	at := 0
	for at < len(raw) {
		n, whole := entry(raw[at:])
		if !whole {
			if tornEntry(raw[at:]) {
				break
			}
			return int64(at), int64(len(raw)), &Damage{File: path, At: int64(at), What: "the entry does not match its checksum"}
		}
		at += n
	}
	return int64(at), int64(len(raw)), nil
}

// entry returns the size of the whole entry that b starts with.
func entry(b []byte) (size int, ok bool) {
	if len(b) < entryBody+entryLeast {
		return 0, false
	}
	n := int64(binary.LittleEndian.Uint32(b))
	if n < entryLeast || n > int64(len(b)-entryBody) {
		return 0, false
	}
	body := b[entryBody : entryBody+n]
	return entryBody + int(n), crc32.Checksum(body, checksums()) == binary.LittleEndian.Uint32(b[entrySum:]) &&
		binary.LittleEndian.Uint16(body) == entryVersion
}

// tornEntry says whether b is what is left of an entry whose write was cut short.
// As for batches, an entry that is whole but for its length is damage.
func tornEntry(b []byte) bool {
	zeros := true
	for _, c := range b {
		zeros = zeros && c == 0
	}
	if zeros || len(b) < entryBody {
		return true
	}
	n := int64(binary.LittleEndian.Uint32(b))
	if n <= int64(len(b)-entryBody) {
		return false
	}
	table, wanted, sum := checksums(), binary.LittleEndian.Uint32(b[entrySum:]), uint32(0)
	for i := entryBody; i < len(b); i++ {
		if sum = crc32.Update(sum, table, b[i:i+1]); sum == wanted {
			return false
		}
	}
	return true
}
