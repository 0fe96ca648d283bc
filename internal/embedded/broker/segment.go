package broker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// segment is a file of a partition's log, as kfake keeps it: record batches one
// after the other, in a file that is named after its first offset.
type segment struct {
	path       string
	base, next int64 // the first offset, and the one after the last
	size       int64 // bytes of whole batches
	batches    int
	newest     int64 // the largest time of a record, Unix milliseconds
	// transactions: it has batches of transactions, or their markers.
	transactions bool
	// index is what kfake's index file beside it has to hold.
	index []byte
	body  []byte // of the batch that was read last
	torn  int64  // bytes after the last whole batch that a write left which was cut short
}

// segments lists the segment files of a partition's folder, in order.
func segments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	var all []segment
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		base, err := strconv.ParseInt(name, 10, 64)
		if ok && err == nil {
			all = append(all, segment{path: filepath.Join(dir, e.Name()), base: base})
		}
	}
	slices.SortFunc(all, func(a, b segment) int { return int(min(max(a.base-b.base, -1), 1)) })
	return all, nil
}

const (
	segmentSuffix = ".dat"
	indexSuffix   = ".idx"
)

// indexPath is where kfake keeps what it says of each batch.
func (s *segment) indexPath() string { return strings.TrimSuffix(s.path, segmentSuffix) + indexSuffix }

// scan reads a segment from its start to its end and checks every byte. last
// says that it is its log's last, which alone may end in a torn write; gaps,
// that records may have been compacted away. Damage is a [*Damage], as are records
// that nobody could read.
func (s *segment) scan(c *content, last, gaps bool) error {
	defer func() { s.body = nil }()
	file, err := os.Open(s.path)
	if err != nil {
		return fmt.Errorf("check segment: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("check segment: %w", err)
	}
	r := bufio.NewReaderSize(file, 256<<10)
	s.next = s.base
	for s.size < info.Size() {
		what, err := s.scanBatch(r, c, info.Size()-s.size, gaps)
		if err != nil {
			return fmt.Errorf("check segment %s: %w", s.path, err)
		}
		if what == "" {
			continue
		}
		rest := make([]byte, info.Size()-s.size)
		if _, err := file.ReadAt(rest, s.size); err != nil {
			return fmt.Errorf("check segment %s: %w", s.path, err)
		}
		if last && torn(rest, s.next) {
			s.torn = int64(len(rest))
			return nil
		}
		return &Damage{File: s.path, At: s.size, What: fmt.Sprintf("offset %d: %s", s.next, what)}
	}
	return nil
}

// scanBatch reads the next batch, of the bytes that are left in the file. It
// says what is wrong with it, or takes it over.
func (s *segment) scanBatch(r *bufio.Reader, c *content, left int64, gaps bool) (what string, err error) {
	h, err := r.Peek(int(min(headerSize, left)))
	if err != nil {
		return "", err
	}
	if len(h) < headerSize {
		return "the file ends within a batch", nil
	}
	b := header(slices.Clone(h))
	// A segment starts with the offset it is named after, compacted or not.
	if what := b.fault(s.next, gaps && s.batches > 0); what != "" {
		return what, nil
	}
	if b.size() > left {
		return "the file ends within a batch", nil
	}
	if _, err := r.Discard(atAttributes); err != nil {
		return "", err
	}
	s.body = slices.Grow(s.body[:0], int(b.size()))[:b.size()]
	copy(s.body, b[:atAttributes])
	if _, err := io.ReadFull(r, s.body[atAttributes:]); err != nil {
		return "", err
	}
	if crc32.Checksum(s.body[atAttributes:], checksums()) != b.checksum() {
		return "the records do not match their checksum", nil
	}
	if what := c.fault(s.body, false); what != "" {
		return what, nil
	}
	s.take(b)
	return "", nil
}

func (s *segment) take(b header) {
	if s.batches == 0 || b.maxTime() > s.newest {
		s.newest = b.maxTime()
	}
	s.next, s.size, s.batches = b.next(), s.size+b.size(), s.batches+1
	s.transactions = s.transactions || b.attributes()&attrTransactional != 0
	s.index = append(s.index, indexEntry(b.inTransaction(), s.newest)...)
}

// The layout of an entry of kfake's index: a version, a checksum of one byte, the
// leader epoch, the largest time so far, and whether a transaction wrote it.
const (
	indexSize    = 15
	indexVersion = 1
	indexSum     = 1
	indexEpoch   = 2
	indexTime    = 6
	indexInTx    = 14
)

func indexEntry(inTransaction bool, newest int64) []byte {
	b := make([]byte, indexSize)
	b[0] = indexVersion
	binary.LittleEndian.PutUint64(b[indexTime:], uint64(newest)) //nolint:gosec // as written
	if inTransaction {
		b[indexInTx] = 1
	}
	b[indexSum] = byte(crc32.Checksum(b[indexEpoch:], checksums()) & 0xff)
	return b
}

// inTransaction says what kfake's index says of a batch: data of a transaction,
// not the marker that ends it.
func (h header) inTransaction() bool {
	return h.attributes()&(attrTransactional|attrControl) == attrTransactional
}
