package storage

import (
	"encoding/binary"
	"errors"

	"github.com/vigie-dev/vigie/internal/record"
)

// The outbox keeps messages as bytes, exactly: a dead letter's headers and
// value may be anything. A batch is a version byte and a sequence of byte
// strings, each a length and its bytes; length 0 stands for null, n+1 for n
// bytes. A message is its topic, key, value, number of headers, and each
// header's key and value.

const encodingVersion = 1

// errEncoding says that an outbox row is not what this package writes.
var errEncoding = errors.New("outbox row is damaged or of a newer version")

func encodeMessages(messages []record.Message) []byte {
	out := binary.AppendUvarint([]byte{encodingVersion}, uint64(len(messages)))
	for _, m := range messages {
		out = appendBytes(out, []byte(m.Topic))
		out = appendBytes(out, m.Key)
		out = appendBytes(out, m.Value)
		out = binary.AppendUvarint(out, uint64(len(m.Headers)))
		for _, h := range m.Headers {
			out = appendBytes(out, []byte(h.Key))
			out = appendBytes(out, h.Value)
		}
	}
	return out
}

func appendBytes(out, b []byte) []byte {
	if b == nil {
		return append(out, 0)
	}
	return append(binary.AppendUvarint(out, uint64(len(b))+1), b...)
}

func decodeMessages(text []byte) ([]record.Message, error) {
	if len(text) == 0 || text[0] != encodingVersion {
		return nil, errEncoding
	}
	d := decoder{rest: text[1:]}
	var messages []record.Message
	for range d.count() {
		m := record.Message{Topic: string(d.bytes()), Key: d.bytes(), Value: d.bytes()}
		for range d.count() {
			m.Headers = append(m.Headers, record.Header{Key: string(d.bytes()), Value: d.bytes()})
		}
		messages = append(messages, m)
	}
	if d.damaged || len(d.rest) > 0 {
		return nil, errEncoding
	}
	return messages, nil
}

// decoder reads what is left; once something did not fit it gives nothing more.
type decoder struct {
	rest    []byte
	damaged bool
}

func (d *decoder) number() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 || d.damaged {
		d.damaged = true
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

// count is a number of things that take at least a byte each.
func (d *decoder) count() uint64 {
	n := d.number()
	if n > uint64(len(d.rest)) {
		d.damaged = true
		return 0
	}
	return n
}

func (d *decoder) bytes() []byte {
	n := d.number()
	if n == 0 {
		return nil
	}
	if n-1 > uint64(len(d.rest)) {
		d.damaged = true
		return nil
	}
	b := d.rest[: n-1 : n-1]
	d.rest = d.rest[n-1:]
	return b
}
