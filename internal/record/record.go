// Package record is a Kafka record as everyone here sees it: where it stands,
// its key, value and headers. It knows neither Kafka nor the bank.
//
// record.go has the record and what is to become one, deadletter.go the
// headers by which a dead letter says where it came from.
package record

import (
	"fmt"
	"time"
)

// Record is one record as a handler sees it.
type Record struct {
	Partition
	Offset  int64
	Key     []byte
	Value   []byte
	Headers []Header
	// Time is the record's own timestamp.
	Time time.Time
}

// Header returns the first header of that name, or "".
func (r Record) Header(name string) string {
	for _, h := range r.Headers {
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
