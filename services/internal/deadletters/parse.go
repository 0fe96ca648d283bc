package deadletters

import (
	"slices"
	"strconv"
	"time"

	"github.com/vigie-dev/vigie/services/internal/banking"
	"github.com/vigie-dev/vigie/services/internal/kafka"
	"github.com/vigie-dev/vigie/services/internal/storage"
)

// parseLetter reads a record of a dead-letter topic that is no marker. Headers
// and value are whatever somebody sent: what does not say plainly where it
// comes from is foreign.
func parseLetter(r kafka.Record) Whole {
	w := Whole{
		Letter:    Letter{ID: idOf(r), Key: string(r.Key), Reason: ReasonForeign, FailedAt: r.Time},
		RecordKey: r.Key, Value: r.Value,
	}
	added, original, ok := kafka.SplitDeadLetter(r.Headers)
	if ok {
		ok = w.readAdded(kafka.Record{Headers: added})
	}
	if !ok {
		original = r.Headers
	}
	for _, h := range original {
		if slices.Contains(traceHeaders(), h.Key) {
			w.Trace = append(w.Trace, h)
		} else {
			w.Headers = append(w.Headers, h)
		}
	}
	return w
}

// readAdded fills in what was added when the record was set aside, or changes
// nothing and returns false.
func (w *Whole) readAdded(added kafka.Record) bool {
	origin, err := ParseID(added.Header(kafka.HeaderOriginalTopic) + "/" +
		added.Header(kafka.HeaderOriginalPartition) + "/" + added.Header(kafka.HeaderOriginalOffset))
	if err != nil || banking.DeadLetterTopic(origin.Topic) != w.ID.Topic {
		return false
	}
	attempts, err := strconv.Atoi(added.Header(kafka.HeaderAttempts))
	if err != nil || attempts < 0 {
		return false
	}
	reason := added.Header(kafka.HeaderErrorReason)
	if !slices.Contains(kafka.Reasons(), reason) {
		return false
	}
	at, err := time.Parse(time.RFC3339Nano, added.Header(kafka.HeaderFailedAt))
	if err != nil {
		return false
	}
	w.Origin, w.Attempts, w.Reason, w.FailedAt = origin, attempts, reason, at.UTC()
	w.Group, w.Class = added.Header(kafka.HeaderConsumerGroup), added.Header(kafka.HeaderErrorClass)
	w.Message = added.Header(kafka.HeaderErrorMessage)
	return true
}

// parseMarker reads a marker: a record without a value that says what became
// of a letter of the same topic. What a record that was set aside has in its
// own headers makes no marker.
func parseMarker(r kafka.Record) (of ID, what Resolution, ok bool) {
	if _, _, letter := kafka.SplitDeadLetter(r.Headers); letter || r.Value != nil {
		return ID{}, Resolution{}, false
	}
	of, err := ParseID(r.Header(kafka.HeaderResolves))
	if err != nil || of.Topic != r.Topic {
		return ID{}, Resolution{}, false
	}
	kind := r.Header(kafka.HeaderResolution)
	at, err := time.Parse(time.RFC3339Nano, r.Header(kafka.HeaderResolvedAt))
	if err != nil || kind != Replayed && kind != Purged {
		return ID{}, Resolution{}, false
	}
	return of, Resolution{Kind: kind, At: at.UTC()}, true
}

// marker is the record that [parseMarker] reads, but for its trace context.
func marker(w Whole, what Resolution) storage.Message {
	return storage.Message{Topic: w.ID.Topic, Key: w.RecordKey, Headers: []storage.Header{
		{Key: kafka.HeaderResolves, Value: []byte(w.ID.String())},
		{Key: kafka.HeaderResolution, Value: []byte(what.Kind)},
		{Key: kafka.HeaderResolvedAt, Value: []byte(what.At.UTC().Format(time.RFC3339Nano))},
	}}
}

// traceHeaders are the headers of W3C Trace Context and W3C Baggage.
func traceHeaders() []string { return []string{"traceparent", "tracestate", "baggage"} }

func idOf(r kafka.Record) ID { return ID{r.Topic, r.ID, r.Offset} }
