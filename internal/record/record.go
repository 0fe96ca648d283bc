// Package record is a Kafka record as everyone here sees it: its place, key, value
// and headers. It exists so that places and dead letters are written and read in
// one way only. It knows neither Kafka nor the bank.
//
// record.go has the record, its place and what is to become one; deadletter.go
// the headers by which a dead letter says where it came from, and a marker what
// became of it.
package record

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MaxDecompressed is what the records of a batch may take once they are
// decompressed, in bytes: every reader here refuses more, and so the embedded
// broker does not take it. It is sixteen times what Kafka takes of a batch by
// default. Kafka itself has no such bound: 100 KB in a log can become gigabytes
// in each of its readers.
const MaxDecompressed = 16 << 20

// Record is one record as a handler sees it.
type Record struct {
	Place
	Key     []byte
	Value   []byte
	Headers []Header
	// Time is the record's own timestamp.
	Time time.Time
}

// Header returns the first header of that name, or "".
func (r Record) Header(name string) string { return first(r.Headers, name) }

func first(headers []Header, name string) string {
	for _, h := range headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// Keys returns the records' keys, which are the ids of their orders.
func Keys(batch []Record) []string {
	keys := make([]string, len(batch))
	for i, r := range batch {
		keys[i] = string(r.Key)
	}
	return keys
}

// Partition names one partition of one topic.
type Partition struct {
	Topic string
	ID    int32
}

// String writes the partition as topic/id, for logs and errors.
func (p Partition) String() string { return fmt.Sprintf("%s/%d", p.Topic, p.ID) }

// Place is where one record stands in the log.
type Place struct {
	Partition
	Offset int64
}

// ErrPlace: a text is not TOPIC/PARTITION/OFFSET.
var ErrPlace = errors.New("not an id of the form TOPIC/PARTITION/OFFSET")

// At returns the place of that topic, partition and offset.
func At(topic string, partition int32, offset int64) Place {
	return Place{Partition{topic, partition}, offset}
}

// String returns TOPIC/PARTITION/OFFSET, which [ParsePlace] reads.
func (p Place) String() string { return fmt.Sprintf("%s/%d/%d", p.Topic, p.ID, p.Offset) }

// ParsePlace reads what [Place.String] writes, and nothing else: other ways to
// write a number, such as +1 and 01, are refused, so that one place has one
// name. Errors wrap [ErrPlace].
func ParsePlace(text string) (Place, error) {
	parts := strings.Split(text, "/")
	if len(parts) == 3 && parts[0] != "" {
		id, badID := parseNumber(parts[1], 32)
		offset, badOffset := parseNumber(parts[2], 64)
		if badID == nil && badOffset == nil {
			return At(parts[0], int32(id), offset), nil //nolint:gosec // read as a number of 32 bits
		}
	}
	return Place{}, fmt.Errorf("%.512q: %w", text, ErrPlace)
}

var errNumber = errors.New("not a decimal number as it is written here: no sign, no leading zero, not too large")

// parseNumber reads a canonical decimal number, 0 or more, of so many bits with
// the sign's.
func parseNumber(text string, bits int) (int64, error) {
	n, err := strconv.ParseInt(text, 10, bits)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != text {
		return 0, fmt.Errorf("%.64q: %w", text, errNumber)
	}
	return n, nil
}

// Header is one header of a record, in the record's order.
type Header struct {
	Key   string
	Value []byte
}

// Message is a record that was decided and has to be published.
type Message struct {
	Topic   string
	Key     []byte
	Value   []byte
	Headers []Header
}

// Names of the headers of every record.
const (
	// HeaderEventID holds the event's id.
	HeaderEventID = "eventId"
	// HeaderEventType holds the event's type.
	HeaderEventType = "eventType"
	// HeaderOriginalEventID holds, on results and dead letters, the id of the event
	// they came from.
	HeaderOriginalEventID = "originalEventId"
)
