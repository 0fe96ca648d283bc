package prometheus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"
	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

// What is kept, whichever is reached first, and in what pieces.
const (
	retention  = 15 * 24 * time.Hour
	maxBytes   = 1 << 30
	blockRange = 2 * time.Hour
	maxRange   = retention / 10 // as Prometheus chooses
	// The defaults are for millions of series; here are some thousands.
	stripes     = 512
	writeBuffer = 512 << 10
	walSegment  = 32 << 20
)

// Names in the folder. The first three are Prometheus' own.
const (
	walFolder    = "wal"
	headFolder   = "chunks_head"
	metaFile     = "meta.json"
	asideFolder  = "aside"
	deletionMark = ".tmp-for-deletion"
)

// store is what was scraped.
type store struct {
	*tsdb.DB
	registry *client.Registry
	aside    *aside
}

// openStore opens a folder. What is damaged of it is set aside and told, and
// never stops the start; an error is the disk's, or what surrounds it.
func openStore(dir string, exemplars *config.ExemplarsConfig, log, engineLog *slog.Logger) (*store, error) {
	a := &aside{dir: dir, log: log}
	if err := errors.Join(a.checkBlocks(), a.checkLog()); err != nil {
		return nil, err
	}
	opts := tsdb.DefaultOptions()
	opts.RetentionDuration, opts.MaxBytes = retention.Milliseconds(), maxBytes
	opts.MinBlockDuration, opts.MaxBlockDuration = blockRange.Milliseconds(), maxRange.Milliseconds()
	opts.WALCompression, opts.WALSegmentSize = compression.Snappy, walSegment
	opts.StripeSize, opts.HeadChunksWriteBufferSize = stripes, writeBuffer
	opts.NoLockfile = true // ours is held
	if exemplars != nil {
		opts.EnableExemplarStorage, opts.MaxExemplars = true, exemplars.MaxExemplars
	}
	// What the checks did not see goes as a whole: first what can be had from the
	// log again, then the log.
	for _, next := range []string{headFolder, walFolder, ""} {
		registry := client.NewRegistry()
		db, err := tsdb.Open(dir, engineLog, registry, opts, nil)
		if err == nil {
			return &store{db, registry, a}, nil
		}
		if next == "" || surroundings(err) {
			return nil, fmt.Errorf("open %s: %w", dir, err)
		}
		if err := a.move(next, err); err != nil {
			return nil, err
		}
	}
	return nil, errors.ErrUnsupported // not reached
}

// surroundings says whether an error comes from elsewhere than from damage.
func surroundings(err error) bool {
	for _, other := range []error{fs.ErrPermission, syscall.ENOSPC, syscall.EROFS, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, other) {
			return true
		}
	}
	return false
}

// Stats implements [v1.TSDBAdminStats].
func (s *store) Stats(label string, limit int) (*tsdb.Stats, error) {
	return s.Head().Stats(label, limit), nil
}

// BlockMetas implements [v1.TSDBAdminStats].
func (s *store) BlockMetas() ([]tsdb.BlockMeta, error) { return s.DB.BlockMetas(), nil }

// WALReplayStatus implements [v1.TSDBAdminStats]: nobody asks before it is over.
func (s *store) WALReplayStatus() (tsdb.WALReplayStatus, error) {
	return tsdb.WALReplayStatus{}, nil
}

// verify reads every byte of the blocks once, beside the work, and sets aside
// those that are damaged. The database misses them when it looks again, within a
// minute; until then queries that need them fail.
func (s *store) verify(ctx context.Context) error {
	for _, block := range s.Blocks() {
		err := verifyBlock(ctx, block.Dir())
		if err == nil || ctx.Err() != nil {
			continue
		}
		if _, gone := os.Stat(block.Dir()); gone != nil {
			continue // compacted or too old meanwhile
		}
		if err := s.aside.move(filepath.Base(block.Dir()), err); err != nil {
			s.aside.log.ErrorContext(ctx, "a damaged block could not be set aside", "error", err)
		}
	}
	<-ctx.Done()
	return nil
}

// verifyBlock reads a block by a mapping of its own, so that its pages do not
// stay in memory.
func verifyBlock(ctx context.Context, dir string) (err error) {
	block, err := tsdb.OpenBlock(nil, dir, nil, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, block.Close()) }()
	series, err := block.Index()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, series.Close()) }()
	samples, err := block.Chunks()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, samples.Close()) }()
	all, err := series.Postings(ctx, "", "")
	if err != nil {
		return err
	}
	var builder labels.ScratchBuilder
	var found []chunks.Meta
	for all.Next() && ctx.Err() == nil {
		if err := series.Series(all.At(), &builder, &found); err != nil {
			return err
		}
		for _, one := range found {
			if _, _, err := samples.ChunkOrIterable(one); err != nil {
				return err
			}
		}
	}
	return all.Err()
}

// aside takes damaged files out of a folder, and keeps them.
type aside struct {
	dir string
	log *slog.Logger
}

// move sets a part of the folder aside, and tells why.
func (a *aside) move(name string, why error) error {
	from := filepath.Join(a.dir, name)
	to, err := a.place(name)
	if err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("set %s aside: %w", from, err)
	}
	a.tell(from, to, why)
	return nil
}

func (a *aside) tell(from, to string, why error) {
	a.log.Warn("damaged samples are set aside; what they held is not seen any more", "path", from, "aside", to, "error", why)
}

// place is a new name below the folder of what is set aside.
func (a *aside) place(name string) (string, error) {
	to := filepath.Join(a.dir, asideFolder, time.Now().UTC().Format("20060102T150405.000000000Z")+"-"+name)
	if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
		return "", fmt.Errorf("make folder for what is damaged: %w", err)
	}
	return to, nil
}

// checkBlocks sets aside blocks that cannot be opened, which the database would
// not start with, or would pass over for ever.
func (a *aside) checkBlocks() error {
	entries, err := os.ReadDir(a.dir)
	if err != nil {
		return fmt.Errorf("list blocks: %w", err)
	}
	for _, entry := range entries {
		if _, err := ulid.ParseStrict(entry.Name()); err != nil || !entry.IsDir() {
			continue
		}
		block, err := tsdb.OpenBlock(nil, filepath.Join(a.dir, entry.Name()), nil, nil)
		if err == nil {
			err = block.Close()
		}
		if err == nil {
			continue
		}
		if surroundings(err) {
			return fmt.Errorf("open block: %w", err)
		}
		if err := a.move(entry.Name(), err); err != nil {
			return err
		}
	}
	return nil
}

// checkLog reads the write-ahead log as the database does. It would delete what
// comes behind damage; a copy of that is kept aside. Without its checkpoint the
// log tells nothing.
func (a *aside) checkLog() error {
	wal := filepath.Join(a.dir, walFolder)
	_, last, err := wlog.Segments(wal)
	if errors.Is(err, fs.ErrNotExist) || err == nil && last < 0 {
		return nil
	}
	if err != nil {
		return a.withoutLog(err)
	}
	checkpoint, first, err := wlog.LastCheckpoint(wal)
	switch {
	case errors.Is(err, record.ErrNotFound):
		first = -1
	case err != nil:
		return a.withoutLog(err)
	default:
		segments, err := wlog.NewSegmentsReader(checkpoint)
		if err == nil {
			err = readAll(segments)
		}
		if err != nil {
			return a.withoutLog(fmt.Errorf("%s: %w", checkpoint, err))
		}
	}
	for i := first + 1; i <= last; i++ {
		segment, err := wlog.OpenReadSegment(wlog.SegmentName(wal, i))
		if err == nil {
			err = readAll(wlog.NewSegmentBufReader(segment))
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // the log begins later
		}
		if err != nil {
			return a.keepLog(wal, i, last, err)
		}
	}
	return nil
}

func readAll(log io.ReadCloser) error {
	defer log.Close()
	r := wlog.NewReader(log)
	for r.Next() { // reading checks
	}
	return r.Err()
}

func (a *aside) withoutLog(why error) error {
	if surroundings(why) {
		return fmt.Errorf("read the write-ahead log: %w", why)
	}
	return errors.Join(a.move(walFolder, why), a.move(headFolder, why))
}

// keepLog keeps the segments of a log from a damaged one on.
func (a *aside) keepLog(wal string, from, last int, why error) error {
	if surroundings(why) {
		return fmt.Errorf("read the write-ahead log: %w", why)
	}
	to, err := a.place(walFolder)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o750); err != nil {
		return fmt.Errorf("make folder for what is damaged: %w", err)
	}
	for i := from; i <= last; i++ {
		if err := os.Link(wlog.SegmentName(wal, i), wlog.SegmentName(to, i)); err != nil {
			return fmt.Errorf("keep segment %s of the write-ahead log: %w", strconv.Itoa(i), err)
		}
	}
	a.tell(wlog.SegmentName(wal, from), to, why)
	return nil
}
