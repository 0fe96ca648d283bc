package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
)

// endsFile has where logs ended when a record was last acknowledged, in lines
// that are appended before each answer: the seal, which has the same, is too dear
// to be written as often. It is synced each second. So it has everything when the
// process dies, and misses the last second at most when the machine does.
const (
	endsFile  = "ends"
	endsEvery = time.Second
	// endsSize is how large the file gets before the seal takes what it says over.
	endsSize = 256 << 10
)

// ended names a partition's log: topics of one name come one after the other.
type ended struct{ topic, folder string }

// ends is what a file of ends says.
type ends struct {
	of map[ended]int64
	// exact: nothing was acknowledged beyond. It was this run of the machine that
	// wrote the file, and all of it can be read.
	exact bool
}

// end is where a log ended at least, when it was last written to.
func (e ends) end(p *partition) (int64, bool) {
	end, known := e.of[ended{p.topic.ID, p.folder}]
	return end, known
}

// readEnds reads up to the first line that is not whole.
func readEnds(dir string) (ends, error) {
	all := ends{of: map[ended]int64{}}
	raw, err := os.ReadFile(filepath.Join(dir, endsFile)) //nolint:gosec // in the operator's folder
	if errors.Is(err, os.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return all, fmt.Errorf("read ends: %w", err)
	}
	run := false
	for line := range strings.Lines(string(raw)) {
		body, sum, found := strings.Cut(line, "\t#")
		if !found || sum != sealSum(body) {
			return all, nil
		}
		var key ended
		var end int64
		if id, ok := strings.CutPrefix(body, "run "); ok {
			run = id != "" && id == machineRun()
		} else if _, err := fmt.Sscanf(body, "%s %s %d", &key.topic, &key.folder, &end); err == nil {
			all.of[key] = max(all.of[key], end)
		}
	}
	all.exact = run
	return all, nil
}

// machineRun tells one run of the machine from another; "" where it cannot be told.
func machineRun() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

func endsLine(body string) string { return body + "\t#" + sealSum(body) }

// endings writes the file of ends. The disk's lock guards it.
type endings struct {
	file   *os.File
	at     int64 // where its next line goes
	synced int64 // up to where it is on disk
	logs   map[string]reached
	topics map[string]string // ids by name
}

// reached is how far a log's last segment was read.
type reached struct {
	base, size, next int64
}

// begin empties the file, of which the seal has everything.
func (e *endings) begin(dir string) (err error) {
	if e.file == nil {
		e.file, err = os.OpenFile(filepath.Join(dir, endsFile), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // in the operator's folder
	}
	if err == nil {
		err = e.file.Truncate(0)
	}
	if err != nil {
		return fmt.Errorf("keep ends: %w", err)
	}
	e.at, e.synced = 0, 0
	return e.write(endsLine("run " + machineRun()))
}

func (e *endings) write(lines string) error {
	n, err := e.file.WriteAt([]byte(lines), e.at) // what a failed write has left is written over
	if err != nil {
		return fmt.Errorf("keep ends: %w", err)
	}
	e.at += int64(n)
	return nil
}

// learn takes the topics' ids over.
func (e *endings) learn(content []byte) error {
	topics, err := parseTopics(content)
	if err != nil {
		return err
	}
	clear(e.topics)
	for _, t := range topics {
		for number := range t.Partitions {
			e.topics[folderOf(t.Name, number)] = t.ID
		}
	}
	return nil
}

// keepEnds writes where the logs end that have been synced.
func (d *disk) keepEnds() error {
	if d.ends.file == nil {
		if err := d.ends.begin(d.dir); err != nil {
			return err
		}
	}
	var lines strings.Builder
	var changed []string
	now := map[string]reached{}
	for _, folder := range d.names {
		l := d.logs[folder]
		known, topic := d.ends.logs[folder], d.ends.topics[folder]
		if l.path == "" || topic == "" || l.base == known.base && l.size == known.size {
			continue
		}
		to, err := known.follow(l)
		if errors.Is(err, os.ErrNotExist) { // deleted meanwhile
			continue
		}
		if err != nil {
			return err
		}
		if to.next != known.next {
			lines.WriteString(endsLine(fmt.Sprintf("%s %s %d", topic, folder, to.next)))
		}
		now[folder], changed = to, append(changed, folder)
	}
	if lines.Len() > 0 {
		if err := d.ends.write(lines.String()); err != nil {
			return err
		}
	}
	for _, folder := range changed {
		d.ends.logs[folder] = now[folder]
	}
	if d.ends.at < endsSize {
		return nil
	}
	d.seal.takeEnds(d.ends)
	if err := d.seal.write(d.dir); err != nil {
		return err
	}
	return d.ends.begin(d.dir)
}

// takeEnds has the seal say what the file of ends does.
func (s *seal) takeEnds(e endings) {
	for folder, at := range e.logs {
		m := s.Marks[folder]
		if topic := e.topics[folder]; topic == "" {
			continue
		} else if m.Topic != topic {
			m = mark{Topic: topic}
		}
		m.End = max(m.End, at.next)
		s.Marks[folder] = m
	}
}

// follow reads on in a segment, from header to header, as far as it was synced.
func (r reached) follow(l tail) (reached, error) {
	file, err := os.Open(l.path)
	if err != nil {
		return r, err
	}
	defer func() { _ = file.Close() }()
	if r.base != l.base || r.size > l.size || r.size == 0 {
		r = reached{base: l.base, next: l.base}
	}
	h := make(header, headerSize)
	for r.size < l.size {
		if _, err := file.ReadAt(h, r.size); errors.Is(err, io.EOF) {
			break // the rest comes with the next round
		} else if err != nil {
			return r, err
		}
		if h.size() < headerSize || r.size+h.size() > l.size {
			break
		}
		r.size, r.next = r.size+h.size(), h.next()
	}
	return r, nil
}

// syncEnds syncs the file of ends each second, until ctx ends.
func (d *disk) syncEnds(ctx context.Context) {
	_ = lifecycle.Every(ctx, endsEvery, func(context.Context) error { // ends with ctx alone
		d.mu.Lock()
		defer d.mu.Unlock()
		at := d.ends.at
		if d.failure != nil || d.ends.file == nil || at == d.ends.synced {
			return nil
		}
		if err := d.sync(filepath.Join(d.dir, endsFile)); err != nil {
			d.fail(err)
		}
		d.ends.synced = at
		return nil
	})
}
