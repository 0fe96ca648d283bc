// Package extsort sorts more than memory holds: what is added is sorted in
// parts in memory, kept in a temporary file, and merged while it is read. It
// exists for the audit, whose log may be of any length.
//
// Several [Sorter]s can be merged into one order, again and again, and go on
// taking items between: what stays from one reading to the next is sorted once.
// Items with the same key come in the order of the sorters, and within one as
// they were added.
package extsort

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
)

// Sizes of buffers, in bytes.
const (
	// writing is the buffer of a part on its way to the file.
	writing = 256 << 10
	// reading is shared among all parts that are merged, each of which has at
	// least least and at most most.
	reading = 32 << 20
	least   = 4 << 10
	most    = 256 << 10
	// few is what needs no file to be read.
	few = 256 << 10
)

// Sorter takes items and keeps them sorted by key. Items may be added from
// several goroutines, but not while they are read.
//
// Its file is readable by its owner alone. Where the system allows it, the
// file has no name from the start, so that nothing of it is left, however the
// process ends.
type Sorter struct {
	dir    string
	memory int

	mu    sync.Mutex
	buf   []byte // items as they stand in the file
	items []item // where each stands in buf
	file  *os.File
	named bool // the file could not be removed while it is open
	size  int64
	parts []part
}

// item is one item in the buffer.
type item struct {
	prefix       uint64 // of the key, after what all keys begin with
	start, key   uint32 // offsets of the item and of its key
	keyLen, size uint32
}

// part is a sorted part of the file.
type part struct{ start, size int64 }

// New returns an empty sorter that needs about so many bytes of memory, at
// most 1 GiB, and keeps the rest in a file in dir; "" stands for the system's
// folder for temporary files. It makes the file when the first part is full, or
// when more than little is read.
func New(dir string, memory int) *Sorter {
	return &Sorter{dir: dir, memory: min(memory, 1<<30)}
}

// Add takes a copy of an item.
func (s *Sorter) Add(key, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if need := len(key) + len(value) + 2*binary.MaxVarintLen32; len(s.buf) > 0 && len(s.buf)+need > s.memory {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.grow()
	start := len(s.buf)
	s.buf = binary.AppendUvarint(s.buf, uint64(len(key)))
	keyAt := len(s.buf)
	s.buf = append(s.buf, key...)
	s.buf = binary.AppendUvarint(s.buf, uint64(len(value)))
	s.buf = append(s.buf, value...)
	//nolint:gosec // a buffer has at most 1 GiB and one item
	s.items = append(s.items, item{
		start: uint32(start), key: uint32(keyAt), keyLen: uint32(len(key)), size: uint32(len(s.buf) - start),
	})
	return nil
}

// grow makes room for an item: little while there is little, then all that there
// may be at once, since what grows by and by leaves as much behind.
func (s *Sorter) grow() {
	switch {
	case s.buf == nil:
		s.buf = make([]byte, 0, min(s.memory, writing))
	case len(s.buf) > writing && cap(s.buf) < s.memory:
		s.buf = append(make([]byte, 0, s.memory), s.buf...)
		s.items = append(make([]item, 0, len(s.items)*s.memory/len(s.buf)), s.items...)
	}
}

// Close removes what the sorter keeps.
func (s *Sorter) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf, s.items, s.parts = nil, nil, nil
	if s.file == nil {
		return nil
	}
	file := s.file
	s.file, s.size = nil, 0
	err := file.Close()
	if s.named {
		err = errors.Join(err, os.Remove(file.Name()))
	}
	return err
}

// flush sorts what is in memory and makes it a part of the file.
func (s *Sorter) flush() error {
	if len(s.items) == 0 {
		return nil
	}
	if err := s.open(); err != nil {
		return err
	}
	s.sort()
	out := bufio.NewWriterSize(io.NewOffsetWriter(s.file, s.size), writing)
	for _, i := range s.items {
		if _, err := out.Write(s.buf[i.start : i.start+i.size]); err != nil {
			return fmt.Errorf("write a temporary file: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write a temporary file: %w", err)
	}
	p := part{s.size, int64(len(s.buf))}
	s.parts, s.size = append(s.parts, p), s.size+p.size
	s.buf, s.items = s.buf[:0], s.items[:0]
	return nil
}

// open makes the file, once.
func (s *Sorter) open() error {
	if s.file != nil {
		return nil
	}
	file, err := os.CreateTemp(s.dir, "vigie-*.tmp") // 0600
	if err != nil {
		return fmt.Errorf("make a temporary file: %w", err)
	}
	s.file = file
	s.named = os.Remove(file.Name()) != nil
	return nil
}

// sort orders the items in memory. Most keys begin alike, so each item has the
// bytes of its key that follow, which settles most comparisons.
func (s *Sorter) sort() {
	if len(s.items) == 0 {
		return
	}
	key := func(i item) []byte { return s.buf[i.key : i.key+i.keyLen] }
	same := key(s.items[0])
	for _, i := range s.items[1:] {
		same = same[:common(same, key(i))]
	}
	for n, i := range s.items {
		var first [8]byte
		copy(first[:], key(i)[len(same):])
		s.items[n].prefix = binary.BigEndian.Uint64(first[:])
	}
	slices.SortFunc(s.items, func(a, b item) int {
		if a.prefix != b.prefix {
			return cmp.Compare(a.prefix, b.prefix)
		}
		return cmp.Or(bytes.Compare(key(a), key(b)), cmp.Compare(a.start, b.start))
	})
}

// common is how many bytes two keys begin with in common.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// Reader gives the items of sorters in order.
type Reader struct {
	cursors []*cursor // a heap
	started bool
	err     error
}

// Merge reads the sorters' items in one order. The sorters take no items until
// the reading has ended. It makes what they have in memory a part of their
// files, unless it is little, and gives that memory back.
func Merge(sorters ...*Sorter) (*Reader, error) {
	r := &Reader{}
	var ins []*io.SectionReader
	for _, s := range sorters {
		in, err := s.read()
		if err != nil {
			return nil, err
		}
		ins = append(ins, in...)
	}
	size := min(max(reading/max(len(ins), 1), least), most)
	for rank, in := range ins {
		buffered := bufio.NewReaderSize(in, int(min(int64(size), in.Size())))
		r.cursors = append(r.cursors, &cursor{in: buffered, part: in, rank: rank})
	}
	return r, nil
}

// read returns the sorter's parts.
func (s *Sorter) read() (ins []*io.SectionReader, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil && len(s.buf) <= few {
		s.sort()
		sorted := make([]byte, 0, len(s.buf))
		for _, i := range s.items {
			sorted = append(sorted, s.buf[i.start:i.start+i.size]...)
		}
		return []*io.SectionReader{io.NewSectionReader(bytes.NewReader(sorted), 0, int64(len(sorted)))}, nil
	}
	err = s.flush()
	s.buf, s.items = nil, nil
	for _, p := range s.parts {
		ins = append(ins, io.NewSectionReader(s.file, p.start, p.size))
	}
	return ins, err
}

// Next goes on to the next item and says whether there is one.
func (r *Reader) Next() bool {
	if r.err != nil {
		return false
	}
	if !r.started {
		r.started = true
		kept := r.cursors[:0]
		for _, c := range r.cursors {
			more, err := c.next()
			if err != nil {
				r.err = err
				return false
			}
			if more {
				kept = append(kept, c)
			}
		}
		r.cursors = kept
		heap.Init((*cursors)(&r.cursors))
		return len(r.cursors) > 0
	}
	if len(r.cursors) == 0 {
		return false
	}
	more, err := r.cursors[0].next()
	switch {
	case err != nil:
		r.err = err
		return false
	case more:
		heap.Fix((*cursors)(&r.cursors), 0)
	default:
		heap.Pop((*cursors)(&r.cursors))
	}
	return len(r.cursors) > 0
}

// Key is the item's key, until Next is called.
func (r *Reader) Key() []byte { return r.cursors[0].key }

// Value is the item's value, until Next is called.
func (r *Reader) Value() []byte { return r.cursors[0].value }

// Err is why the reading ended too early, or nil.
func (r *Reader) Err() error { return r.err }

// cursor reads one part.
type cursor struct {
	in         *bufio.Reader
	part       *io.SectionReader // what in reads
	rank       int
	key, value []byte
}

// next reads the next item and says whether there was one.
func (c *cursor) next() (bool, error) {
	var err error
	if c.key, err = readBytes(c.in, c.key); errors.Is(err, io.EOF) {
		if at, _ := c.part.Seek(0, io.SeekCurrent); at == c.part.Size() {
			return false, nil
		}
		err = io.ErrUnexpectedEOF // the file is shorter than it was made
	}
	if err == nil {
		c.value, err = readBytes(c.in, c.value)
	}
	if err != nil {
		return false, fmt.Errorf("read a temporary file: %w", err)
	}
	return true, nil
}

// readBytes reads a length and its bytes into the room, if they fit. The error
// is io.EOF at the end alone.
func readBytes(in *bufio.Reader, room []byte) ([]byte, error) {
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return room, err
	}
	room = slices.Grow(room[:0], int(n))[:n] //nolint:gosec // it was written here
	if _, err := io.ReadFull(in, room); err != nil {
		return room, fmt.Errorf("%w: %v", io.ErrUnexpectedEOF, err) //nolint:errorlint // io.EOF stands for the end
	}
	return room, nil
}

// cursors is a heap of cursors by their item.
type cursors []*cursor

func (c cursors) Len() int      { return len(c) }
func (c cursors) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c *cursors) Push(any)     {} // not used: all parts are known before

func (c cursors) Less(i, j int) bool {
	return cmp.Or(bytes.Compare(c[i].key, c[j].key), cmp.Compare(c[i].rank, c[j].rank)) < 0
}

func (c *cursors) Pop() any {
	last := len(*c) - 1
	*c = (*c)[:last]
	return nil
}
