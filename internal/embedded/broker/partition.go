package broker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// checkPartition checks a partition's segments, each by itself and that one goes
// on where the other ended, and against what the log has to hold.
func (f *inspection) checkPartition(p *partition) (err error) {
	if p.segments, err = segments(p.dir); err != nil {
		return err
	}
	intact := len(f.damage)
	for i := range p.segments {
		if err := f.checkSegment(p, i); err != nil {
			return err
		}
		if len(f.damage) > intact {
			return nil
		}
	}
	p.segments = f.dropEmpty(p.segments)
	f.checkReach(p)
	if len(f.damage) > intact {
		return nil
	}
	if len(p.segments) == 0 {
		if p.end > 0 {
			f.repairs = append(f.repairs, repair{do: func(*aside) error { return holdPlace(p) }})
		}
		return nil
	}
	return f.planSnapshot(p)
}

func (f *inspection) checkSegment(p *partition, i int) error {
	s, last, next := &p.segments[i], i == len(p.segments)-1, int64(-1)
	if !last {
		next = p.segments[i+1].base
	}
	if err := s.scan(&f.content, last, p.topic.compacted()); err != nil {
		return f.add(salvageable(err, s, next, p.topic.compacted()))
	}
	switch m, _ := f.mark(p); {
	case s.torn > 0 && s.next < m.End:
		what := fmt.Sprintf("offset %d: the log ends in %d bytes that are no whole batch, and offsets %d to %d were acknowledged", s.next, s.torn, s.next, m.End-1)
		return f.add(salvageable(&Damage{File: s.path, At: s.size, What: what}, s, m.End, p.topic.compacted()))
	case s.torn > 0 && f.ends.exact:
		f.cut(s.path, s.size, s.torn, "; it was never acknowledged")
	case s.torn > 0:
		f.cut(s.path, s.size, s.torn, "; it may have been acknowledged, should the disk have lost what it was told to keep")
	case s.size == 0 && !last:
		f.damage = append(f.damage, &Damage{File: s.path, What: "the segment is empty", fix: func(a *aside) error { return a.move(s.path) }})
	}
	if i > 0 {
		if before := &p.segments[i-1]; s.base != before.next && before.size > 0 && (!p.topic.compacted() || s.base < before.next) {
			f.damage = append(f.damage, &Damage{
				File: s.path, What: fmt.Sprintf("offsets %d to %d are missing before it", before.next, s.base-1),
				fix: func(*aside) error { return fillGap(p.dir, before.next, s.base, before.newest) },
			})
		}
	}
	good, err := s.indexed()
	if err != nil {
		return err
	}
	if !good {
		index, path := s.index, s.indexPath()
		f.repairs = append(f.repairs, repair{do: func(*aside) error { return replaceFile(path, index, derived) }})
	}
	s.index = nil // millions of batches have large ones
	return nil
}

// indexed says whether the index file holds what it has to. The time in it goes
// stale when earlier batches are deleted, and kfake does not use it.
func (s *segment) indexed() (bool, error) {
	found, err := os.ReadFile(s.indexPath())
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("check index: %w", err)
	}
	if len(found) != len(s.index) {
		return false, nil
	}
	for at := 0; at < len(found); at += indexSize {
		has, wants := found[at:at+indexSize], s.index[at:at+indexSize]
		newest := int64(binary.LittleEndian.Uint64(has[indexTime:])) //nolint:gosec // as written
		if !slices.Equal(has, indexEntry(wants[indexInTx] == 1, newest)) {
			return false, nil
		}
	}
	return true, nil
}

// dropEmpty plans to remove a last segment in which nothing is whole: kfake made
// the file and did not come to write to it.
func (f *inspection) dropEmpty(all []segment) []segment {
	if len(all) == 0 || all[len(all)-1].batches > 0 {
		return all
	}
	empty := all[len(all)-1]
	f.repairs = append(f.repairs, repair{do: func(*aside) error {
		if err := removeFile(empty.path); err != nil {
			return err
		}
		return removeFile(empty.indexPath())
	}})
	return all[:len(all)-1]
}

// mark says what a log has to hold, as far as the seal or the file of ends knows.
func (f *inspection) mark(p *partition) (m mark, known bool) {
	end, ended := f.ends.end(p)
	if f.seal != nil {
		m, known = f.seal.Marks[p.folder]
		if known = known && m.Topic == p.topic.ID; !known {
			m, known = mark{Topic: p.topic.ID}, ended // nothing has been deleted of it
		}
	}
	m.End = max(m.End, end)
	return m, known
}

// checkReach compares a log with its mark, and says from where to where it goes.
// Records go missing without a trace in what is left where files are deleted.
func (f *inspection) checkReach(p *partition) {
	m, known := f.mark(p)
	if len(p.segments) == 0 {
		p.start, p.end = m.End, m.End
		if m.Start < m.End {
			f.missing(p, m.Start, m.End)
		}
		return
	}
	first, last := &p.segments[0], &p.segments[len(p.segments)-1]
	p.start, p.end = min(max(first.base, m.Start), last.next), last.next
	if known && first.base > m.Start {
		f.missing(p, m.Start, first.base)
	}
	if last.next < m.End {
		f.missing(p, last.next, m.End)
	}
}

func (f *inspection) missing(p *partition, from, to int64) {
	f.damage = append(f.damage, &Damage{
		File: p.dir, What: fmt.Sprintf("offsets %d to %d are missing", from, to-1),
		fix: func(*aside) error { return fillGap(p.dir, from, to, time.Now().UnixMilli()) },
	})
}

// fillGap puts a segment in the place of missing ones, so that the offsets stay
// what they are.
func fillGap(dir string, from, to, newest int64) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("fill gap: %w", err)
	}
	name := fmt.Sprintf("%d%s", from, segmentSuffix)
	if err := replaceFile(filepath.Join(dir, name), hole(from, to-1, newest), durable); err != nil {
		return fmt.Errorf("fill gap: %w", err)
	}
	return nil
}

// holdPlace keeps the end of a log that retention has emptied. kfake knows it by
// its last batch alone and would begin again at offset 0.
func holdPlace(p *partition) error {
	if err := fillGap(p.dir, p.end-1, p.end, -1); err != nil {
		return err
	}
	all, err := segments(p.dir)
	if err != nil {
		return err
	}
	p.segments = all[:1]
	if err := p.segments[0].scan(&content{}, true, false); err != nil {
		return err
	}
	return p.writeSnapshot()
}

// planSnapshot has kfake find a snapshot that is right. Without one it reads a
// log as a whole into memory, and does not know of records that were deleted from
// the middle of a segment. kfake's own has no checksum, and it believes it.
//
// A log with transactions keeps kfake's own where that is what a clean stop left;
// otherwise kfake makes out from the log which of them were aborted.
func (f *inspection) planSnapshot(p *partition) error {
	path := filepath.Join(p.dir, snapshotFile)
	transactions := false
	for i := range p.segments {
		transactions = transactions || p.segments[i].transactions
	}
	if !transactions {
		f.repairs = append(f.repairs, repair{do: func(*aside) error { return p.writeSnapshot() }})
		return nil
	}
	sum, err := fileSum(path)
	if err == nil && f.seal != nil && f.seal.Left[snapshotName(p)] == sum {
		return nil
	}
	f.repairs = append(f.repairs, repair{do: func(*aside) error { return removeFile(path) }})
	return nil
}

// snapshotName is how a seal names a partition's snapshot.
func snapshotName(p *partition) string { return filepath.Join(partsFolder, p.folder, snapshotFile) }

// snapshot is kfake's, as far as a log without transactions needs it.
type snapshot struct {
	Version   int               `json:"version"`
	End       int64             `json:"high_watermark"`
	Stable    int64             `json:"last_stable_offset"`
	Start     int64             `json:"log_start_offset"`
	CreatedAt time.Time         `json:"created_at"`
	Segments  []snapshotSegment `json:"segments"`
}

type snapshotSegment struct {
	Base int64 `json:"base_offset"`
	Size int64 `json:"size"`
}

func (p *partition) writeSnapshot() error {
	s := snapshot{Version: 1, End: p.end, Stable: p.end, Start: p.start, CreatedAt: time.Now()}
	for i := range p.segments {
		s.Segments = append(s.Segments, snapshotSegment{Base: p.segments[i].base, Size: p.segments[i].size})
	}
	content, err := json.Marshal(s)
	if err == nil {
		err = replaceFile(filepath.Join(p.dir, snapshotFile), content, derived)
	}
	if err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}
