// Package deadletters reads what consumer groups have set aside and resolves it:
// a letter is replayed, which publishes the record that it holds once more, or
// purged, which ends its order for good. Nothing is deleted; a marker on the
// dead-letter topic says what became of a letter, and the topic's retention
// removes both. A letter whose order has been decided all the same needs neither.
//
// It stands apart from package delivery, which sets records aside, because
// resolving is a person's work, done beside a running system.
//
// letter.go has a letter as it is read, list.go finds and reads letters, and
// resolve.go replays and purges them.
package deadletters

import (
	"slices"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
)

// ReasonForeign is the reason of a record on a dead-letter topic that no
// consumer group of this system has set aside. It has no origin, class, group
// or attempts, and cannot be replayed.
const ReasonForeign = "foreign"

// Letter is what is known of one dead letter, without the record it holds.
type Letter struct {
	ID       record.Place
	Key      string       // the order's id
	Origin   record.Place // where the record stood that failed
	Group    string       // the consumer group that set it aside
	Attempts int          // how often it was tried
	Class    string       // transient or reject
	Reason   string       // one of delivery.Reasons, or ReasonForeign
	Message  string       // the last try's error
	FailedAt time.Time
	// EventID is the event of the order that waits for this letter; "" where none
	// does: the record is no order, or another group's, or a second order under
	// the id of one that is decided.
	EventID string
	// Decision is the order's status where it has been decided all the same, by
	// another record of the same event: banking.StatusAuthorized or StatusRejected.
	Decision string
	// Resolution is zero while the letter has been neither replayed nor purged.
	Resolution Resolution
}

// Resolved says whether the letter has been replayed, or its order purged.
func (l Letter) Resolved() bool { return l.Resolution.Kind != "" }

// Purged says whether the letter was given up for good.
func (l Letter) Purged() bool { return l.Resolution.Kind == record.Purged }

// Decided says whether the letter's order has been decided all the same.
func (l Letter) Decided() bool { return l.Decision != "" }

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

// Resolution is what became of a letter.
type Resolution struct {
	Kind string // record.Replayed or record.Purged; "" for a letter that waits
	At   time.Time
}

// maxText bounds each text of a Letter, in bytes, where many are kept in memory
// at once.
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
		w.EventID = waitingOrder(origin, own)
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

// waitingOrder is the event of the order that is not decided because paiement
// has set its record aside; "" for none. A contradictory record is a second order
// under the id of one that is decided.
func waitingOrder(origin record.Origin, original record.Record) string {
	if origin.Group != banking.GroupPaiement || origin.Reason == string(delivery.ReasonContradictory) {
		return ""
	}
	order, err := delivery.DecodeAs[banking.OrderCreated](original)
	if err != nil {
		return ""
	}
	return order.EventID
}

// traceHeaders are the headers of W3C Trace Context and W3C Baggage.
func traceHeaders() []string { return []string{"traceparent", "tracestate", "baggage"} }
