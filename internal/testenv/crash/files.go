//go:build unix

package crash

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
)

// diskFull is how long the data folder is full.
const diskFull = 4 * time.Second

// fileBreakages is what happens to files.
func fileBreakages() []breakage {
	return []breakage{
		{name: "disk full", smallDisk: true, during: soon(fillDisk)},
		{name: "torn tails", files: true, during: soon(tearTails)},
		{name: "flipped bit", files: true, during: soon(flipBit)},
	}
}

// fillDisk takes all space in the data folder, for a time.
func fillDisk(ctx context.Context, r *round) error {
	path := filepath.Join(r.data, "ballast")
	full, cancel := context.WithTimeout(ctx, diskFull)
	defer cancel()
	for full.Err() == nil { // again, should anything have been given back
		if err := fill(path); err != nil {
			return err
		}
		_ = lifecycle.Sleep(full, 20*time.Millisecond)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("free space: %w", err)
	}
	return nil
}

// fill appends to a file until there is no space for a byte.
func fill(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // in the round's folder
	if err != nil {
		return fmt.Errorf("fill disk: %w", err)
	}
	defer func() { _ = f.Close() }()
	for size := 1 << 20; size > 0; {
		_, err := f.Write(make([]byte, size))
		switch {
		case errors.Is(err, syscall.ENOSPC):
			size /= 16
		case err != nil:
			return fmt.Errorf("fill disk: %w", err)
		}
	}
	return nil
}

// segmentFiles are the embedded broker's files with records, those that have any.
func (r *round) segmentFiles() (paths []string, err error) {
	all, err := filepath.Glob(filepath.Join(r.data, "broker", "log", "partitions", "*", "*.dat"))
	for _, path := range all {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			paths = append(paths, path)
		}
	}
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("the broker has no segments in %s", r.data)
	}
	return paths, err
}

// The layout of a batch's header, of Kafka's message format 2.
const (
	atLength    = 8  // of what follows the length
	batchPrefix = 12 // bytes up to there
	atLastDelta = 23 // from the batch's first offset to its last
	deltaEnd    = 27
)

// batches parts a segment into its batches.
func batches(segment []byte) (all [][]byte, next uint64, err error) {
	for rest := segment; len(rest) > 0; {
		if len(rest) < deltaEnd {
			return nil, 0, fmt.Errorf("a batch of %d bytes", len(rest))
		}
		size := batchPrefix + int(binary.BigEndian.Uint32(rest[atLength:]))
		if size < deltaEnd || size > len(rest) {
			return nil, 0, fmt.Errorf("a batch of %d bytes of %d", size, len(rest))
		}
		next = binary.BigEndian.Uint64(rest) + uint64(binary.BigEndian.Uint32(rest[atLastDelta:])) + 1
		all, rest = append(all, rest[:size]), rest[size:]
	}
	return all, next, nil
}

// tearTails kills the broker and leaves what a power cut may leave of a write
// that nobody has acknowledged: the beginning of a batch after each segment's
// last. The broker has to cut it, to say so, and to go on.
func tearTails(ctx context.Context, r *round) error {
	r.broker.Kill()
	paths, err := r.segmentFiles()
	if err != nil {
		return err
	}
	r.random.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
	paths = paths[:1+r.random.IntN(len(paths))]
	for _, path := range paths {
		if err := tear(path, r.random); err != nil {
			return fmt.Errorf("tear %s: %w", path, err)
		}
	}
	if err := r.broker.Restart(ctx); err != nil {
		return err
	}
	for _, path := range paths {
		if err := r.brokerNames(path); err != nil {
			return err
		}
	}
	return nil
}

// tear appends a part of a batch that would be the log's next.
func tear(path string, random *rand.Rand) error {
	content, err := os.ReadFile(path) //nolint:gosec // our own
	if err != nil {
		return err
	}
	all, next, err := batches(content)
	if err != nil {
		return err
	}
	torn := bytes.Clone(all[random.IntN(len(all))])
	binary.BigEndian.PutUint64(torn, next)
	torn = torn[:1+random.IntN(len(torn)-1)]
	return os.WriteFile(path, append(content, torn...), 0o600) //nolint:gosec // in the round's folder
}

// brokerNames says whether the broker's log names a file.
func (r *round) brokerNames(path string) error {
	log, err := os.ReadFile(filepath.Join(r.folder, "broker.log"))
	if err == nil && !strings.Contains(string(log), path) {
		err = fmt.Errorf("the broker does not name %s, which is damaged:\n%s", path, r.broker.LogTail())
	}
	return err
}

// errDamageTaken: the broker started on a file that was not what it had written.
var errDamageTaken = errors.New("the broker has started on a damaged file")

// flipBit ends the broker and flips one bit of a segment. The broker has to
// refuse to start, to name the file, and to leave it as it is; its operator then
// restores the file from a copy.
func flipBit(ctx context.Context, r *round) error {
	if r.random.IntN(2) == 0 {
		r.broker.Kill()
	} else if err := r.broker.Stop(); err != nil {
		return err
	}
	paths, err := r.segmentFiles()
	if err != nil {
		return err
	}
	path := paths[r.random.IntN(len(paths))]
	sound, err := os.ReadFile(path) //nolint:gosec // our own
	if err != nil {
		return fmt.Errorf("flip a bit: %w", err)
	}
	damaged, at := bytes.Clone(sound), r.random.IntN(len(sound))
	damaged[at] ^= 1 << r.random.IntN(8)
	if err := os.WriteFile(path, damaged, 0o600); err != nil { //nolint:gosec // our own
		return fmt.Errorf("flip a bit: %w", err)
	}
	if r.broker.Restart(ctx) == nil {
		return fmt.Errorf("%w: byte %d of %s", errDamageTaken, at, path)
	}
	if err := r.brokerNames(path); err != nil {
		return err
	}
	left, err := os.ReadFile(path) //nolint:gosec // our own
	if err != nil || !bytes.Equal(left, damaged) {
		return fmt.Errorf("the broker has changed %s, which is damaged at byte %d: %w", path, at, errors.Join(err, errDamageTaken))
	}
	if err := os.WriteFile(path, sound, 0o600); err != nil { //nolint:gosec // our own
		return fmt.Errorf("restore a file: %w", err)
	}
	return r.broker.Restart(ctx)
}
