// Package deadletters reads what consumer groups have set aside and settles it:
// a letter is replayed, which publishes the record that it holds once more, or
// purged. Nothing is deleted; a marker on the dead-letter topic says what became
// of a letter, and the topic's retention removes both.
//
// It stands apart from package kafka, which sets records aside, because settling
// is a person's work, done beside a running system.
package deadletters

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/vigie-dev/vigie/internal/record"
)

// ErrBadID: a text is not TOPIC/PARTITION/OFFSET.
var ErrBadID = errors.New("not an id of the form TOPIC/PARTITION/OFFSET")

// ID is a record's place in Kafka. A dead letter is known by its own.
type ID struct {
	Topic     string
	Partition int32
	Offset    int64
}

// String returns TOPIC/PARTITION/OFFSET.
func (id ID) String() string { return fmt.Sprintf("%s/%d/%d", id.Topic, id.Partition, id.Offset) }

// ParseID reads what [ID.String] wrote, and nothing else. Errors wrap [ErrBadID].
func ParseID(text string) (ID, error) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 || parts[0] == "" {
		return ID{}, fmt.Errorf("%q: %w", bounded(text), ErrBadID)
	}
	partition, err1 := strconv.ParseInt(parts[1], 10, 32)
	offset, err2 := strconv.ParseInt(parts[2], 10, 64)
	id := ID{parts[0], int32(partition), offset}
	// The comparison refuses other ways to write a number, such as +1 and 01.
	if err1 != nil || err2 != nil || partition < 0 || offset < 0 || id.String() != text {
		return ID{}, fmt.Errorf("%q: %w", bounded(text), ErrBadID)
	}
	return id, nil
}

// ReasonForeign is the reason of a record on a dead-letter topic that no
// consumer group of this system has set aside. It has no origin, class, group
// or attempts, and cannot be replayed.
const ReasonForeign = "foreign"

// Letter is what is known of one dead letter, without the record it holds.
type Letter struct {
	ID       ID
	Key      string // the order's id
	Origin   ID     // where the record stood that failed
	Group    string // the consumer group that set it aside
	Attempts int    // how often it was tried
	Class    string // transient or reject
	Reason   string // one of kafka.Reasons, or ReasonForeign
	Message  string // the last try's error
	FailedAt time.Time
	// Resolution is zero while the letter waits for somebody.
	Resolution Resolution
}

// Resolved says whether the letter has been replayed or purged.
func (l Letter) Resolved() bool { return l.Resolution.Kind != "" }

// Foreign says whether the letter is none of this system's.
func (l Letter) Foreign() bool { return l.Reason == ReasonForeign }

// Whole is a letter with the record it holds.
type Whole struct {
	Letter
	// RecordKey and Value are nil where the record's were null.
	RecordKey, Value []byte
	// Headers are the record's own, in its order, without the trace context.
	Headers []record.Header
	// Trace is the trace context of the try that failed: traceparent,
	// tracestate and baggage.
	Trace []record.Header
}

// Resolutions.
const (
	Replayed = "replayed"
	Purged   = "purged"
)

// Resolution is what became of a letter.
type Resolution struct {
	Kind string // Replayed or Purged; "" for a letter that waits
	At   time.Time
}

// maxText bounds each text of a Letter, in bytes, where many are held at once.
const maxText = 512

// brief returns the letter with texts of bounded length.
func (l Letter) brief() Letter {
	l.Key, l.Message = bounded(l.Key), bounded(l.Message)
	return l
}

// bounded cuts a text, and copies what it keeps: the rest can be freed.
func bounded(text string) string {
	if len(text) > maxText {
		return text[:maxText] + "…"
	}
	return text
}
