package deadletters

import (
	"slices"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
)

// parseLetter reads a record of a dead-letter topic that is no marker. Headers
// and value are whatever somebody sent: what does not say plainly where it
// comes from is foreign.
func parseLetter(r record.Record) Whole {
	w := Whole{
		Letter:    Letter{ID: r.Place, Key: string(r.Key), Reason: ReasonForeign, FailedAt: r.Time},
		RecordKey: r.Key, Value: r.Value,
	}
	origin, own, err := record.ParseOrigin(r)
	if err == nil && banking.DeadLetterTopic(origin.Place.Topic) == r.Topic && slices.Contains(delivery.Reasons(), origin.Reason) {
		w.Origin, w.Group, w.Attempts, w.Class = origin.Place, origin.Group, origin.Attempts, origin.Class
		w.Reason, w.Message, w.FailedAt = origin.Reason, origin.Message, origin.FailedAt
	} else {
		own = r
	}
	for _, h := range own.Headers {
		if slices.Contains(traceHeaders(), h.Key) {
			w.Trace = append(w.Trace, h)
		} else {
			w.Headers = append(w.Headers, h)
		}
	}
	return w
}

// parseMarker reads what became of a letter.
func parseMarker(r record.Record) (of record.Place, what Resolution, ok bool) {
	m, err := record.ParseMarker(r)
	return m.Letter, Resolution{Kind: m.Resolution, At: m.At}, err == nil
}

// marker is the record that [parseMarker] reads, but for its trace context.
func marker(w Whole, what Resolution) record.Message {
	return record.Marker{Letter: w.ID, Resolution: what.Kind, At: what.At}.Message(w.RecordKey)
}

// traceHeaders are the headers of W3C Trace Context and W3C Baggage.
func traceHeaders() []string { return []string{"traceparent", "tracestate", "baggage"} }
