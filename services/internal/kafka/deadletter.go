package kafka

import (
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

// setAside makes the dead letter of a record that failed for good: the
// original key, value and headers, and why it is here.
func (l *Loop[State, Change]) setAside(r Record, err error, c consequence) []storage.Message {
	topic := l.cfg.DeadLetters(r.Topic)
	if !c.deadLetter || topic == "" {
		return nil
	}
	m := storage.Message{Topic: topic, Key: r.Key, Value: r.Value}
	m.Headers = append(m.Headers, r.Headers...)
	for _, h := range [][2]string{
		{banking.HeaderOriginalEventID, r.Header(banking.HeaderEventID)},
		{HeaderOriginalTopic, r.Topic},
		{HeaderOriginalPartition, strconv.Itoa(int(r.ID))},
		{HeaderOriginalOffset, strconv.FormatInt(r.Offset, 10)},
		{HeaderConsumerGroup, l.cfg.Group},
		{HeaderAttempts, strconv.Itoa(c.tries)},
		{HeaderErrorClass, c.name},
		{HeaderErrorReason, string(reasonOf(err))},
		{HeaderErrorMessage, err.Error()},
		{HeaderFailedAt, time.Now().UTC().Format(time.RFC3339Nano)},
	} {
		m.Headers = append(m.Headers, storage.Header{Key: h[0], Value: []byte(h[1])})
	}
	return []storage.Message{m}
}
