package kafka

import (
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/services/internal/storage"
)

// Record is one record as a handler sees it.
type Record struct {
	storage.Partition
	Offset  int64
	Key     []byte
	Value   []byte
	Headers []storage.Header
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

func newRecord(m *sarama.ConsumerMessage) Record {
	r := Record{
		Partition: storage.Partition{Topic: m.Topic, ID: m.Partition},
		Offset:    m.Offset, Key: m.Key, Value: m.Value, Time: m.Timestamp,
		Headers: make([]storage.Header, 0, len(m.Headers)),
	}
	for _, h := range m.Headers {
		if h != nil {
			r.Headers = append(r.Headers, storage.Header{Key: string(h.Key), Value: h.Value})
		}
	}
	return r
}

// outgoing is the message in sarama's form.
func outgoing(m storage.Message) *sarama.ProducerMessage {
	pm := &sarama.ProducerMessage{Topic: m.Topic}
	if m.Value != nil { // a null value is not an empty one
		pm.Value = sarama.ByteEncoder(m.Value)
	}
	if m.Key != nil {
		pm.Key = sarama.ByteEncoder(m.Key)
	}
	// One buffer for all names: a batch has thousands of headers.
	length := 0
	for _, h := range m.Headers {
		length += len(h.Key)
	}
	names := make([]byte, 0, length)
	pm.Headers = make([]sarama.RecordHeader, len(m.Headers))
	for i, h := range m.Headers {
		start := len(names)
		names = append(names, h.Key...)
		pm.Headers[i] = sarama.RecordHeader{Key: names[start:len(names):len(names)], Value: h.Value}
	}
	return pm
}
