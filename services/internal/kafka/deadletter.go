package kafka

import (
	"slices"
	"strconv"
	"time"

	"github.com/vigie-dev/vigie/services/internal/banking"
	"github.com/vigie-dev/vigie/services/internal/storage"
)

// Headers that a dead letter adds to those of the record it holds.
const (
	HeaderOriginalTopic     = "originalTopic"
	HeaderOriginalPartition = "originalPartition"
	HeaderOriginalOffset    = "originalOffset"
	HeaderConsumerGroup     = "consumerGroup"
	HeaderAttempts          = "attempts"
	HeaderErrorClass        = "errorClass"
	HeaderErrorReason       = "errorReason"
	HeaderErrorMessage      = "errorMessage"
	HeaderFailedAt          = "failedAt"
)

// Headers of a resolution: a record on a dead-letter topic, with no value, that
// says what became of a letter.
const (
	HeaderResolves   = "resolves"   // the letter, TOPIC/PARTITION/OFFSET
	HeaderResolution = "resolution" // replayed or purged
	HeaderResolvedAt = "resolvedAt" // RFC 3339
)

// maxAdded bounds each header that a dead letter adds, in bytes.
const maxAdded = 1024

// deadLetterHeaders are the names of what setAside adds, in its order.
func deadLetterHeaders() []string {
	return []string{
		banking.HeaderOriginalEventID, HeaderOriginalTopic, HeaderOriginalPartition, HeaderOriginalOffset,
		HeaderConsumerGroup, HeaderAttempts, HeaderErrorClass, HeaderErrorReason, HeaderErrorMessage, HeaderFailedAt,
	}
}

// SplitDeadLetter parts a dead letter's headers into those that were added when
// it was set aside and those of the record it holds, whatever names they have.
// It returns false for a record that no loop has set aside.
//
// The trace context among the latter is not the record's own but that of the
// failed try, which continues the same trace.
func SplitDeadLetter(headers []storage.Header) (added, original []storage.Header, ok bool) {
	names := deadLetterHeaders()
	if len(headers) < len(names) {
		return nil, nil, false
	}
	for i, name := range names {
		if headers[i].Key != name {
			return nil, nil, false
		}
	}
	return headers[:len(names):len(names)], headers[len(names):], true
}

// setAside makes the dead letter of a record that failed for good: the
// original key, value and headers, and why it is here. What it adds stands
// before the original headers, so that the original can be restored exactly,
// and so that readers, who take the first header of a name, are not told by a
// hostile record where it came from.
func (l *Loop[State, Change]) setAside(r Record, err error, c consequence) []storage.Message {
	topic := l.cfg.DeadLetters(r.Topic)
	if !c.deadLetter || topic == "" {
		return nil
	}
	values := []string{
		r.Header(banking.HeaderEventID), r.Topic, strconv.Itoa(int(r.ID)), strconv.FormatInt(r.Offset, 10),
		l.cfg.Group, strconv.Itoa(c.tries), c.name, string(reasonOf(err)), err.Error(),
		time.Now().UTC().Format(time.RFC3339Nano),
	}
	added := make([]storage.Header, len(values))
	for i, name := range deadLetterHeaders() {
		added[i] = storage.Header{Key: name, Value: []byte(values[i][:min(len(values[i]), maxAdded)])}
	}
	value, headers := fitting(r)
	return []storage.Message{{Topic: topic, Key: r.Key, Value: value, Headers: slices.Concat(added, headers)}}
}

// letterRoom is what a dead letter may need beside the record's own bytes: its
// added headers, the trace context and the record's framing.
const letterRoom = 16 << 10

// fitting returns the record's value and headers, cut where the dead letter
// would be larger than Kafka takes. Only a record twice as large as any event
// is; the whole of it stays where the letter says that it came from.
func fitting(r Record) (value []byte, headers []storage.Header) {
	const framing = 16 // of a header, at most
	left := MaxRecordBytes - letterRoom - len(r.Key)
	for i, h := range r.Headers {
		if left -= len(h.Key) + len(h.Value) + framing; left < 0 {
			return nil, r.Headers[:i]
		}
	}
	return r.Value[:min(len(r.Value), left)], r.Headers
}
