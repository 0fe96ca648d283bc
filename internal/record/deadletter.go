package record

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

// DeadLetterHeaders are the names of what a dead letter adds, in its order.
func DeadLetterHeaders() []string {
	return []string{
		HeaderOriginalEventID, HeaderOriginalTopic, HeaderOriginalPartition, HeaderOriginalOffset,
		HeaderConsumerGroup, HeaderAttempts, HeaderErrorClass, HeaderErrorReason, HeaderErrorMessage, HeaderFailedAt,
	}
}

// SplitDeadLetter parts a dead letter's headers into those that were added when
// it was set aside and those of the record it holds, whatever names they have.
// It returns false for a record that no loop has set aside.
//
// The trace context among the latter is not the record's own but that of the
// failed try, which continues the same trace.
func SplitDeadLetter(headers []Header) (added, original []Header, ok bool) {
	names := DeadLetterHeaders()
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
