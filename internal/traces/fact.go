package traces

import (
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/deadletters"
	"github.com/vigie-dev/vigie/internal/record"
)

// Kinds of facts.
const (
	KindCreated    = banking.TypeOrderCreated
	KindAuthorized = banking.TypePaymentAuthorized
	KindRejected   = banking.TypePaymentRejected
	// KindSetAside is a dead letter.
	KindSetAside = "SetAside"
	// KindReplayed and KindPurged are markers: what became of a dead letter.
	KindReplayed = "Replayed"
	KindPurged   = "Purged"
	// KindUnreadable is a record that is none of these.
	KindUnreadable = "Unreadable"
)

// Fact is what one of an order's records says, without its value.
type Fact struct {
	Kind string
	// Place is where the record stands; Time is when it was written, by the
	// record's own timestamp.
	Place record.Place
	Time  time.Time
	// Context is what the record's traceparent says.
	Context Context
	EventID string
	// OriginalEventID is the event that caused this one; "" where none did.
	OriginalEventID string
	// Of a dead letter: where the record stood that failed, who set it aside,
	// why, and after how many tries. Of a marker: Origin is the letter.
	Origin        record.Place
	Group, Reason string
	Attempts      int
}

// Context is a trace context, as far as it is needed here.
type Context struct {
	TraceID, SpanID string // lower-case hex digits; "" where there is none
	Sampled         bool
}

// Lengths of ids, in hex digits, and the bit that says sampled.
const (
	traceDigits = 32
	spanDigits  = 16
	sampledFlag = 1
)

// ParseContext reads a traceparent as W3C Trace Context has it, level 1 and
// later versions: 00-TRACE-SPAN-FLAGS. It returns false for anything else.
func ParseContext(traceparent string) (Context, bool) {
	parts := strings.SplitN(traceparent, "-", 5)
	if len(parts) < 4 || len(parts[0]) != 2 || parts[0] == "ff" || len(parts[3]) != 2 || (parts[0] == "00" && len(parts) > 4) {
		return Context{}, false
	}
	flags, err := hex.DecodeString(parts[3])
	if err != nil || !isID(parts[1], traceDigits) || !isID(parts[2], spanDigits) || !isHex(parts[0]) {
		return Context{}, false
	}
	return Context{TraceID: parts[1], SpanID: parts[2], Sampled: flags[0]&sampledFlag != 0}, true
}

// IsTraceID says whether a text is a trace's id: 32 lower-case hex digits, not
// all of them zero.
func IsTraceID(text string) bool { return isID(text, traceDigits) }

func isID(text string, digits int) bool {
	return len(text) == digits && isHex(text) && strings.Trim(text, "0") != ""
}

func isHex(text string) bool { return strings.Trim(text, "0123456789abcdef") == "" }

// factOf reads a record's headers, which are whatever somebody sent. The value
// is looked at only for being there.
func factOf(r record.Record) Fact {
	f := Fact{
		Kind: KindUnreadable, Place: r.Place, Time: r.Time.UTC(),
		EventID:         clean(r.Header(record.HeaderEventID), maxText),
		OriginalEventID: clean(r.Header(record.HeaderOriginalEventID), maxText),
	}
	if year := f.Time.Year(); year < 1970 || year > 9999 { // a number that is no time, and that JSON cannot write
		f.Time = time.Time{}
	}
	f.Context, _ = ParseContext(r.Header("traceparent"))
	switch {
	case slices.Contains(deadletters.Topics(), r.Topic):
		f.setAside(r)
	case banking.TopicOf(r.Header(record.HeaderEventType)) == r.Topic:
		f.Kind = r.Header(record.HeaderEventType)
	}
	return f
}

// setAside reads a record of a dead-letter topic: a letter or a marker.
func (f *Fact) setAside(r record.Record) {
	if origin, own, err := record.ParseOrigin(r); err == nil {
		f.Kind, f.Origin, f.Attempts = KindSetAside, origin.Place, origin.Attempts
		f.Group, f.Reason = clean(origin.Group, maxText), clean(origin.Reason, maxText)
		// The headers that a letter adds hold no trace context.
		f.Context, _ = ParseContext(own.Header("traceparent"))
		return
	}
	marker, err := record.ParseMarker(r)
	if err != nil {
		return
	}
	f.Origin = marker.Letter
	switch marker.Resolution {
	case record.Replayed:
		f.Kind = KindReplayed
	case record.Purged:
		f.Kind = KindPurged
	}
}

// Writer is who wrote the record, as far as its kind says.
func (f Fact) Writer() string {
	switch f.Kind {
	case KindCreated:
		return "commande"
	case KindAuthorized, KindRejected:
		return "paiement"
	case KindSetAside:
		return strings.TrimSuffix(f.Group, "-svc")
	case KindReplayed, KindPurged:
		return "vigie dlq"
	default:
		return "unknown"
	}
}
