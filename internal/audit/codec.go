package audit

import (
	"encoding/binary"
	"time"

	"github.com/vigie-dev/vigie/internal/record"
)

// codec writes the fields of a fact, or reads them: which of the two is decided
// once, so that each fact names its fields once, in one order. What it writes
// is for this process alone.
type codec struct {
	buf     []byte // what was written, or what is left to read
	reading bool
	damaged bool // what was read was not written here
	// topics spares the records' places a text each.
	topics []string
}

func number[T ~int64](c *codec, n *T) {
	if !c.reading {
		c.buf = binary.AppendVarint(c.buf, int64(*n))
		return
	}
	read, size := binary.Varint(c.buf)
	*n = T(read)
	c.advance(size)
}

// advance goes on by as many bytes as were read; 0 or less stands for damage.
func (c *codec) advance(size int) {
	if size <= 0 {
		c.damaged, c.buf = true, nil
		return
	}
	c.buf = c.buf[size:]
}

func (c *codec) text(s *string) {
	n := int64(len(*s))
	number(c, &n)
	switch {
	case !c.reading:
		c.buf = append(c.buf, *s...)
	case n < 0 || n > int64(len(c.buf)):
		c.damaged, c.buf = true, nil
	default:
		*s, c.buf = string(c.buf[:n]), c.buf[n:]
	}
}

// digest is the hash of something that has to be the same elsewhere.
func (c *codec) digest(d *uint64) {
	if !c.reading {
		c.buf = binary.LittleEndian.AppendUint64(c.buf, *d)
		return
	}
	if len(c.buf) < 8 {
		c.damaged, c.buf = true, nil
		return
	}
	*d, c.buf = binary.LittleEndian.Uint64(c.buf), c.buf[8:]
}

func (c *codec) flag(b *bool) {
	n := int64(0)
	if *b {
		n = 1
	}
	number(c, &n)
	*b = n != 0
}

func (c *codec) place(at *record.Place) {
	known := int64(-1)
	if !c.reading {
		for i, topic := range c.topics {
			if topic == at.Topic {
				known = int64(i)
			}
		}
	}
	number(c, &known)
	if known >= 0 && known < int64(len(c.topics)) {
		at.Topic = c.topics[known]
	} else {
		c.text(&at.Topic)
	}
	id := int64(at.ID)
	number(c, &id)
	at.ID = int32(id) //nolint:gosec // it was written from one
	number(c, &at.Offset)
}

// micros is a time in microseconds since 1970, as the services store it; 0
// stands for none.
type micros int64

func microsOf(t time.Time) micros {
	if t.IsZero() {
		return 0
	}
	return micros(t.UnixMicro())
}

func (m micros) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(m)).UTC()
}

// minute is minutes since 1970, as analyseur has it.
func (m micros) minute() int64 { return time.UnixMicro(int64(m)).Unix() / 60 }
