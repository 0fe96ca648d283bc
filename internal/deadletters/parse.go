package deadletters

import (
	"slices"
	"strconv"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
)

// parseLetter reads a record of a dead-letter topic that is no marker. Headers
// and value are whatever somebody sent: what does not say plainly where it
// comes from is foreign.
func parseLetter(r record.Record) Whole {
	w := Whole{
		Letter:    Letter{ID: idOf(r), Key: string(r.Key), Reason: ReasonForeign, FailedAt: r.Time},
		RecordKey: r.Key, Value: r.Value,
	}
	added, original, ok := record.SplitDeadLetter(r.Headers)
	if ok {
		ok = w.readAdded(record.Record{Headers: added})
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
func (w *Whole) readAdded(added record.Record) bool {
	origin, err := ParseID(added.Header(record.HeaderOriginalTopic) + "/" +
		added.Header(record.HeaderOriginalPartition) + "/" + added.Header(record.HeaderOriginalOffset))
	if err != nil || banking.DeadLetterTopic(origin.Topic) != w.ID.Topic {
		return false
	}
	attempts, err := strconv.Atoi(added.Header(record.HeaderAttempts))
	if err != nil || attempts < 0 {
		return false
	}
	reason := added.Header(record.HeaderErrorReason)
	if !slices.Contains(delivery.Reasons(), reason) {
		return false
	}
	at, err := time.Parse(time.RFC3339Nano, added.Header(record.HeaderFailedAt))
	if err != nil {
		return false
	}
	w.Origin, w.Attempts, w.Reason, w.FailedAt = origin, attempts, reason, at.UTC()
	w.Group, w.Class = added.Header(record.HeaderConsumerGroup), added.Header(record.HeaderErrorClass)
	w.Message = added.Header(record.HeaderErrorMessage)
	return true
}

// parseMarker reads a marker: a record without a value that says what became
// of a letter of the same topic. What a record that was set aside has in its
// own headers makes no marker.
func parseMarker(r record.Record) (of ID, what Resolution, ok bool) {
	if _, _, letter := record.SplitDeadLetter(r.Headers); letter || r.Value != nil {
		return ID{}, Resolution{}, false
	}
	of, err := ParseID(r.Header(record.HeaderResolves))
	if err != nil || of.Topic != r.Topic {
		return ID{}, Resolution{}, false
	}
	kind := r.Header(record.HeaderResolution)
	at, err := time.Parse(time.RFC3339Nano, r.Header(record.HeaderResolvedAt))
	if err != nil || kind != Replayed && kind != Purged {
		return ID{}, Resolution{}, false
	}
	return of, Resolution{Kind: kind, At: at.UTC()}, true
}

// marker is the record that [parseMarker] reads, but for its trace context.
func marker(w Whole, what Resolution) record.Message {
	return record.Message{Topic: w.ID.Topic, Key: w.RecordKey, Headers: []record.Header{
		{Key: record.HeaderResolves, Value: []byte(w.ID.String())},
		{Key: record.HeaderResolution, Value: []byte(what.Kind)},
		{Key: record.HeaderResolvedAt, Value: []byte(what.At.UTC().Format(time.RFC3339Nano))},
	}}
}

// traceHeaders are the headers of W3C Trace Context and W3C Baggage.
func traceHeaders() []string { return []string{"traceparent", "tracestate", "baggage"} }

func idOf(r record.Record) ID { return ID{r.Topic, r.ID, r.Offset} }
