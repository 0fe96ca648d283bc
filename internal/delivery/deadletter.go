package delivery

import (
	"slices"
	"time"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// setAside makes the dead letter of a record that failed for good: the
// original key, value and headers, and, before them, its origin.
func (l *Loop[State, Change]) setAside(r record.Record, err error, c consequence) []record.Message {
	topic := l.cfg.DeadLetters(r.Topic)
	if !c.deadLetter || topic == "" {
		return nil
	}
	origin := record.Origin{
		Place: r.Place, EventID: r.Header(record.HeaderEventID), Group: l.cfg.Group, Attempts: c.tries,
		Class: c.name, Reason: string(reasonOf(err)), Message: err.Error(), FailedAt: time.Now(),
	}
	value, headers := fitting(r)
	return []record.Message{{Topic: topic, Key: r.Key, Value: value, Headers: slices.Concat(origin.Headers(), headers)}}
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
