package delivery

import (
	"slices"
	"strconv"
	"time"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// maxAdded bounds each header that a dead letter adds, in bytes.
const maxAdded = 1024

// setAside makes the dead letter of a record that failed for good: the
// original key, value and headers, and why it is here. What it adds stands
// before the original headers, so that the original can be restored exactly,
// and so that readers, who take the first header of a name, are not told by a
// hostile record where it came from.
func (l *Loop[State, Change]) setAside(r record.Record, err error, c consequence) []record.Message {
	topic := l.cfg.DeadLetters(r.Topic)
	if !c.deadLetter || topic == "" {
		return nil
	}
	values := []string{
		r.Header(record.HeaderEventID), r.Topic, strconv.Itoa(int(r.ID)), strconv.FormatInt(r.Offset, 10),
		l.cfg.Group, strconv.Itoa(c.tries), c.name, string(reasonOf(err)), err.Error(),
		time.Now().UTC().Format(time.RFC3339Nano),
	}
	added := make([]record.Header, len(values))
	for i, name := range record.DeadLetterHeaders() {
		added[i] = record.Header{Key: name, Value: []byte(values[i][:min(len(values[i]), maxAdded)])}
	}
	value, headers := fitting(r)
	return []record.Message{{Topic: topic, Key: r.Key, Value: value, Headers: slices.Concat(added, headers)}}
}

// letterRoom is what a dead letter may need beside the record's own bytes: its
// added headers, the trace context and the record's framing.
const letterRoom = 16 << 10

// fitting returns the record's value and headers, cut where the dead letter
// would be larger than Kafka takes. Only a record twice as large as any event
// is; the whole of it stays where the letter says that it came from.
func fitting(r record.Record) (value []byte, headers []record.Header) {
	const framing = 16 // of a header, at most
	left := kafka.MaxRecordBytes - letterRoom - len(r.Key)
	for i, h := range r.Headers {
		if left -= len(h.Key) + len(h.Value) + framing; left < 0 {
			return nil, r.Headers[:i]
		}
	}
	return r.Value[:min(len(r.Value), left)], r.Headers
}
