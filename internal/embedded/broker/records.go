package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	snappy "github.com/klauspost/compress/snappy/xerial"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/vigie-dev/vigie/internal/record"
)

// Kafka's codecs, as in a batch's attributes.
const (
	codecMask   = 0x07
	codecGzip   = 1
	codecSnappy = 2
	codecLZ4    = 3
	codecZstd   = 4
)

// The fields of a producer in a batch's header.
const (
	atProducer      = 43
	atProducerEpoch = 51
	atSequence      = 53
)

var (
	errCodec   = errors.New("no such compression")
	errLarge   = fmt.Errorf("the records are larger than %d bytes when decompressed", record.MaxDecompressed)
	errVarint  = errors.New("a number is not one")
	errLength  = errors.New("a length goes beyond what is there")
	errTrail   = errors.New("bytes are left over after the last record")
	errMissing = errors.New("there are fewer records than the batch says")
)

// content looks into batches: whether their records are what their headers say,
// so that every reader can make something of them. It keeps its decoders, and is
// for one goroutine.
type content struct {
	gzip  *gzip.Reader
	lz4   *lz4.Reader
	zstd  *zstd.Decoder
	plain []byte // what was decompressed last
}

// close gives the decoders back.
func (c *content) close() {
	if c.zstd != nil {
		c.zstd.Close()
	}
	*c = content{}
}

// fault says what is wrong with the records of a whole batch, or "". A batch
// that a producer sends has a record for each of its offsets; in one that is in
// the log, some may be gone where it was compacted or made to hold a place.
func (c *content) fault(batch []byte, produced bool) string {
	h := header(batch)
	if what := h.producerFault(); what != "" {
		return what
	}
	records, err := c.decompress(int(h.attributes()&codecMask), batch[headerSize:])
	if err != nil {
		return fmt.Sprintf("the records cannot be decompressed: %v", err)
	}
	gaps := !produced || h.attributes()&attrControl != 0
	switch count, last := int64(h.count()), int64(h.lastDelta()); {
	case count < 1 && !gaps || count < 0:
		return fmt.Sprintf("the batch says that it has %d records", count)
	case count-1 > last || !gaps && count-1 != last:
		return fmt.Sprintf("the batch says that it has %d records and %d offsets", count, last+1)
	}
	if err := check(records, h, gaps); err != nil {
		return "the records are not as the batch says: " + err.Error()
	}
	return ""
}

// producerFault is what is wrong with what a batch says of its producer.
func (h header) producerFault() string {
	id := int64(binary.BigEndian.Uint64(h[atProducer:]))         //nolint:gosec // as written
	epoch := int16(binary.BigEndian.Uint16(h[atProducerEpoch:])) //nolint:gosec // as written
	first := int32(binary.BigEndian.Uint32(h[atSequence:]))      //nolint:gosec // as written
	if h.attributes()&attrControl == 0 && id >= 0 && (epoch < 0 || first < 0) {
		return fmt.Sprintf("producer %d has epoch %d and sequence number %d", id, epoch, first)
	}
	return ""
}

// keepPlain is how large a buffer is kept for the next batch.
const keepPlain = 1 << 20

// decompress returns what sarama's readers would make of a payload, by the same
// libraries, up to [record.MaxDecompressed]. It is good until the next call.
func (c *content) decompress(codec int, payload []byte) (plain []byte, err error) {
	if cap(c.plain) > keepPlain {
		c.plain = nil
	}
	switch codec {
	case 0:
		return payload, nil
	case codecGzip:
		if c.gzip == nil {
			c.gzip = new(gzip.Reader)
		}
		if err := c.gzip.Reset(bytes.NewReader(payload)); err != nil {
			return nil, err
		}
		return c.drain(c.gzip)
	case codecSnappy:
		return c.snappy(payload)
	case codecLZ4:
		if c.lz4 == nil {
			c.lz4 = lz4.NewReader(nil)
		}
		c.lz4.Reset(bytes.NewReader(payload))
		return c.drain(c.lz4)
	case codecZstd:
		if c.zstd == nil {
			c.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(record.MaxDecompressed))
			if err != nil {
				return nil, err
			}
		}
		c.plain, err = c.zstd.DecodeAll(payload, c.plain[:0])
		if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
			err = errLarge
		}
		return c.plain, err
	default:
		return nil, fmt.Errorf("%w: %d", errCodec, codec)
	}
}

// drain reads a stream into the buffer.
func (c *content) drain(r io.Reader) ([]byte, error) {
	buffer := bytes.NewBuffer(c.plain[:0])
	n, err := buffer.ReadFrom(io.LimitReader(r, record.MaxDecompressed+1))
	c.plain = buffer.Bytes()
	if err == nil && n > record.MaxDecompressed {
		err = errLarge
	}
	return c.plain, err
}

// snappy decodes into a buffer that grows with what comes: the sizes in the
// payload are the producer's to choose.
func (c *content) snappy(payload []byte) ([]byte, error) {
	for size := min(max(cap(c.plain), 4*len(payload), 1<<10), record.MaxDecompressed); ; size = min(2*size, record.MaxDecompressed) {
		if cap(c.plain) < size {
			c.plain = make([]byte, 0, size)
		}
		plain, err := snappy.DecodeCapped(c.plain[:0:size], payload)
		if !errors.Is(err, snappy.ErrDstTooSmall) {
			return plain, err
		}
		if size == record.MaxDecompressed {
			return nil, errLarge
		}
	}
}

// check goes through a batch's records, all of which the header has to know.
func check(b []byte, h header, gaps bool) error {
	previous := int64(-1)
	for range h.count() {
		if len(b) == 0 {
			return errMissing
		}
		length, n := binary.Varint(b)
		if n <= 0 || n != varintSize(length) { // sarama takes no longer form of it
			return errVarint
		}
		if length < 0 || length > int64(len(b)-n) {
			return errLength
		}
		r := fields{rest: b[n : n+int(length)]}
		delta := r.record()
		switch {
		case r.err != nil:
			return r.err
		case len(r.rest) > 0:
			return errors.New("a record is shorter than it says")
		case delta != previous+1 && (!gaps || delta <= previous) || delta > int64(h.lastDelta()):
			return fmt.Errorf("record %d of the batch says that it is number %d", previous+1, delta)
		}
		previous, b = delta, b[n+int(length):]
	}
	if len(b) > 0 {
		return errTrail
	}
	return nil
}

func varintSize(n int64) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutVarint(b[:], n)
}

// fields takes a record apart. After an error it finds nothing more.
type fields struct {
	rest []byte
	err  error
}

// record goes through a record, from after its length on, and returns its
// place in the batch.
func (f *fields) record() (delta int64) {
	if len(f.rest) == 0 {
		f.err = errLength
		return 0
	}
	f.rest = f.rest[1:] // attributes, which Kafka has no use for
	f.varint()          // time
	delta = f.varint()
	f.bytes(true)   // key
	f.bytes(true)   // value
	n := f.varint() // headers
	if f.err == nil && (n < 0 || n > int64(len(f.rest))) {
		f.err = errLength
	}
	for ; f.err == nil && n > 0; n-- {
		f.bytes(false)
		f.bytes(true)
	}
	return delta
}

func (f *fields) varint() int64 {
	if f.err != nil {
		return 0
	}
	v, n := binary.Varint(f.rest)
	if n <= 0 {
		f.err = errVarint
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

// bytes skips a length and as many bytes; -1 stands for null.
func (f *fields) bytes(null bool) {
	n := f.varint()
	switch {
	case f.err != nil || n == -1 && null:
	case n < 0 || n > int64(len(f.rest)):
		f.err = errLength
	default:
		f.rest = f.rest[n:]
	}
}
