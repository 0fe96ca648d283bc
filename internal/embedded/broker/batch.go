package broker

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The layout of a record batch, Kafka's format 2. The checksum covers what
// comes after it; the fields before it are checked one by one.
const (
	atLength     = 8
	atEpoch      = 12
	atMagic      = 16
	atChecksum   = 17
	atAttributes = 21
	atLastDelta  = 23
	atMaxTime    = 35
	atCount      = 57
	headerSize   = 61

	lengthEnd = atLength + 4 // the length counts what comes after itself
	magic     = 2
	// maxBatch bounds a batch's length, as kfake does.
	maxBatch = 1 << 30

	attrTransactional = 0x10
	attrControl       = 0x20
)

// checksums is the table of CRC-32C, which Kafka and kfake use throughout.
func checksums() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// header is the first bytes of a batch, headerSize of them.
type header []byte

func (h header) first() int64     { return int64(binary.BigEndian.Uint64(h)) } //nolint:gosec // as written
func (h header) checksum() uint32 { return binary.BigEndian.Uint32(h[atChecksum:]) }
func (h header) lastDelta() int32 { return int32(binary.BigEndian.Uint32(h[atLastDelta:])) } //nolint:gosec // as written
func (h header) count() int32     { return int32(binary.BigEndian.Uint32(h[atCount:])) }     //nolint:gosec // as written
func (h header) maxTime() int64   { return int64(binary.BigEndian.Uint64(h[atMaxTime:])) }   //nolint:gosec // as written
func (h header) attributes() uint16 {
	return binary.BigEndian.Uint16(h[atAttributes:])
}

// next is the offset after the batch's last.
func (h header) next() int64 { return h.first() + int64(h.lastDelta()) + 1 }

// size is that of the whole batch, in bytes.
func (h header) size() int64 { return lengthEnd + int64(binary.BigEndian.Uint32(h[atLength:])) }

// fault says what is wrong with a header, or "". A batch goes on where the one
// before ended; where records were compacted away it may start later.
func (h header) fault(expected int64, gaps bool) string {
	first := h.first()
	switch {
	case first != expected && (!gaps || first < expected):
		return "the batch does not go on where the one before it ended"
	case h[atMagic] != magic:
		return "the batch is not of format 2"
	case binary.BigEndian.Uint32(h[atEpoch:]) != 0: // a single node elects nobody
		return "the batch has a leader epoch that was never given"
	case h.size() < headerSize || h.size() > maxBatch:
		return "the batch has an impossible length"
	case h.lastDelta() < 0:
		return "the batch ends before it starts"
	}
	return ""
}

// whole says whether b starts with an undamaged batch that readers can make
// something of, and returns its size.
func whole(c *content, b []byte, expected int64, gaps bool) (size int64, ok bool) {
	if len(b) < headerSize {
		return 0, false
	}
	h := header(b[:headerSize])
	if h.fault(expected, gaps) != "" || h.size() > int64(len(b)) {
		return 0, false
	}
	return h.size(), crc32.Checksum(b[atAttributes:h.size()], checksums()) == h.checksum() && c.fault(b[:h.size()], false) == ""
}

// torn says whether the bytes at the end of a log are what a write leaves that
// was cut short: the start of the batch that comes next, without its end, or
// nothing but zeros, where the file had grown and its content was not written.
// Nobody was told that such a batch is stored. A batch that is there in full and
// does not match its checksum is damage, as is a whole batch with a wrong length.
func torn(rest []byte, expected int64) bool {
	if len(bytes.Trim(rest, "\x00")) == 0 {
		return true
	}
	wanted := binary.BigEndian.AppendUint64(nil, uint64(expected)) //nolint:gosec // a place in a log
	if !bytes.HasPrefix(wanted, rest[:min(len(rest), len(wanted))]) {
		return false
	}
	if len(rest) < lengthEnd {
		return true
	}
	complete := make(header, headerSize)
	copy(complete, rest)
	if len(rest) <= atMagic {
		complete[atMagic] = magic
	}
	if len(rest) < headerSize {
		copy(complete[atLastDelta:], make([]byte, 4))
	}
	if complete.fault(expected, false) != "" || complete.size() <= int64(len(rest)) {
		return false
	}
	return !hiddenWhole(rest)
}

// hiddenWhole says whether the rest starts with a whole batch whose length
// alone is wrong: some shorter part of it matches the checksum.
func hiddenWhole(rest []byte) bool {
	if len(rest) < headerSize {
		return false
	}
	table, wanted := checksums(), header(rest).checksum()
	sum := crc32.Checksum(rest[atAttributes:headerSize], table)
	for i := headerSize; ; i++ {
		if sum == wanted {
			return true
		}
		if i == len(rest) {
			return false
		}
		sum = crc32.Update(sum, table, rest[i:i+1])
	}
}

// hole is a batch that stands for the offsets from first to last and has nothing
// for a consumer: a marker, as the end of a transaction is, of no transaction. A
// batch without records would do for Kafka's own consumer, but sarama's answers
// leave those out.
func hole(first, last, time int64) []byte {
	key := kmsg.ControlRecordKey{Type: kmsg.ControlRecordKeyTypeCommit}
	marker := kmsg.EndTxnMarker{}
	record := kmsg.Record{OffsetDelta: int32(last - first), Key: key.AppendTo(nil), Value: marker.AppendTo(nil)} //nolint:gosec // within a segment
	record.Length = int32(len(record.AppendTo(nil)) - 1)                                                         //nolint:gosec // it is short; its own length takes a byte
	batch := kmsg.RecordBatch{
		FirstOffset: first, Magic: magic, Attributes: attrControl, LastOffsetDelta: record.OffsetDelta,
		FirstTimestamp: time, MaxTimestamp: time, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		NumRecords: 1, Records: record.AppendTo(nil),
	}
	b := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(b[atLength:], uint32(len(b)-lengthEnd)) //nolint:gosec // it is short
	binary.BigEndian.PutUint32(b[atChecksum:], crc32.Checksum(b[atAttributes:], checksums()))
	return b
}
