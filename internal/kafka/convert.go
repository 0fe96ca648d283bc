package kafka

import (
	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/record"
)

// Received is a record in our form.
func Received(m *sarama.ConsumerMessage) record.Record {
	r := record.Record{
		Place: record.At(m.Topic, m.Partition, m.Offset),
		Key:   m.Key, Value: m.Value, Time: m.Timestamp,
		Headers: make([]record.Header, 0, len(m.Headers)),
	}
	for _, h := range m.Headers {
		if h != nil {
			r.Headers = append(r.Headers, record.Header{Key: string(h.Key), Value: h.Value})
		}
	}
	return r
}

// Outgoing is the message in sarama's form.
func Outgoing(m record.Message) *sarama.ProducerMessage {
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
