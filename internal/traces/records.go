package traces

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/deadletters"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

const (
	// MaxFacts bounds what is read of one order, whose key anybody may send.
	MaxFacts = 500
	// margin is how far the clocks of services and brokers may disagree, and
	// how long a record may take to be written.
	margin = time.Minute
)

// Cluster is the Kafka that the order's records are in.
type Cluster struct {
	Kafka  kafka.Config
	Client *kafka.Client // of that cluster
	// Progress is called with how many offsets of all have been passed; nil is
	// fine. It is called by one goroutine at a time.
	Progress func(done, total int64)
}

// Window is when an order's records were written, as far as is known: the
// first not before From, the last not after Until. A zero time bounds nothing.
type Window struct{ From, Until time.Time }

// Facts reads the order's records, those of its key, from every partition (each
// producer has its own way to choose one), and returns what they say in the
// order of their times. What the window leaves out is not read; but dead
// letters, and what is done with them, may come at any time later, and widen it.
func (s Cluster) Facts(ctx context.Context, order string, w Window) ([]Fact, error) {
	r := reading{order: order, progress: s.Progress}
	letters, err := s.spans(ctx, w.From, deadletters.Topics())
	if err != nil {
		return nil, err
	}
	rest, err := s.spans(ctx, w.From, eventTopics())
	if err != nil {
		return nil, err
	}
	r.total = kafka.Length(letters) + kafka.Length(rest)
	if w.Until.IsZero() {
		rest = append(rest, letters...)
	} else {
		if err := kafka.Scan(ctx, s.Kafka, letters, r.add); err != nil {
			return nil, fmt.Errorf("read dead letters: %w", err)
		}
		until := w.Until
		for _, f := range r.facts {
			until = later(until, f.Time)
		}
		if err := s.cut(ctx, rest, until.Add(margin)); err != nil {
			return nil, err
		}
		r.total = r.done + kafka.Length(rest)
	}
	if err := kafka.Scan(ctx, s.Kafka, rest, r.add); err != nil {
		return nil, fmt.Errorf("read the order's records: %w", err)
	}
	sortFacts(r.facts)
	return r.facts, nil
}

// sortFacts sorts by time, but puts no order after what came of it, whatever
// clock, or none, its time is from.
func sortFacts(facts []Fact) {
	first := map[string]time.Time{} // by the event that caused it, the first record that came of it
	for _, f := range facts {
		if t, ok := first[f.OriginalEventID]; !ok || f.Time.Before(t) {
			first[f.OriginalEventID] = f.Time
		}
	}
	at := func(f Fact) time.Time {
		if t, ok := first[f.EventID]; ok && f.Kind == KindCreated && f.EventID != "" && t.Before(f.Time) && !replayed(facts, f) {
			return t
		}
		return f.Time
	}
	slices.SortStableFunc(facts, func(a, b Fact) int {
		return cmp.Or(at(a).Compare(at(b)), cmp.Compare(rank(a), rank(b)), strings.Compare(a.Place.Topic, b.Place.Topic),
			cmp.Compare(a.Place.Offset, b.Place.Offset))
	})
}

// replayed says whether the event stands in the log before this record of it.
func replayed(facts []Fact, f Fact) bool {
	return slices.ContainsFunc(facts, func(o Fact) bool {
		return o.Kind == f.Kind && o.EventID == f.EventID && o.Place.Partition == f.Place.Partition && o.Place.Offset < f.Place.Offset
	})
}

// rank puts what causes before what it causes, where both are of one millisecond.
func rank(f Fact) int {
	return slices.Index([]string{KindCreated, KindAuthorized, KindRejected, KindSetAside, KindReplayed, KindPurged}, f.Kind)
}

func eventTopics() []string {
	return []string{banking.TopicOrdersCreated, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected}
}

// reading collects facts, which arrive from several partitions at once.
type reading struct {
	order       string
	progress    func(done, total int64)
	mu          sync.Mutex
	facts       []Fact
	done, total int64
}

func (r *reading) add(record record.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	if r.progress != nil {
		r.progress(r.done, r.total)
	}
	if string(record.Key) == r.order && len(r.facts) < MaxFacts {
		r.facts = append(r.facts, factOf(record))
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// spans returns what the topics hold from a margin before the time on.
func (s Cluster) spans(ctx context.Context, from time.Time, topics []string) ([]kafka.Span, error) {
	spans, err := kafka.Bounds(ctx, s.Client, topics...)
	if err != nil || from.IsZero() {
		return spans, err
	}
	starts, err := kafka.OffsetsAt(ctx, s.Client, spans, from.Add(-margin))
	if err != nil {
		return nil, err
	}
	for i, span := range spans {
		spans[i].Start = max(span.Start, starts[span.Partition])
	}
	return spans, nil
}

// cut ends the spans where records become younger than the time.
func (s Cluster) cut(ctx context.Context, spans []kafka.Span, until time.Time) error {
	ends, err := kafka.OffsetsAt(ctx, s.Client, spans, until)
	if err != nil {
		return err
	}
	for i, span := range spans {
		spans[i].End = max(span.Start, min(span.End, ends[span.Partition]))
	}
	return nil
}

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
	f.Context = contextOf(r)
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
		f.Context = contextOf(own)
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

// Context is a trace context, as far as it is needed here.
type Context struct {
	TraceID, SpanID string // lower-case hex digits; "" where there is none
	Sampled         bool
}

// contextOf reads a record's trace context. Of several traceparents it is open
// which one is meant: there is none, as for who reads the record.
func contextOf(r record.Record) (found Context) {
	parents := 0
	for _, h := range r.Headers {
		if h.Key == "traceparent" {
			parents++
			found, _ = ParseContext(string(h.Value))
		}
	}
	if parents > 1 {
		return Context{}
	}
	return found
}

// ParseContext reads a traceparent as W3C Trace Context has it, level 1 and
// later versions: 00-TRACE-SPAN-FLAGS. It returns false for anything else.
func ParseContext(traceparent string) (Context, bool) {
	carrier := propagation.MapCarrier{"traceparent": traceparent}
	found := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
	if !found.IsValid() {
		return Context{}, false
	}
	return Context{TraceID: found.TraceID().String(), SpanID: found.SpanID().String(), Sampled: found.IsSampled()}, true
}

// IsTraceID says whether a text is a trace's id: 32 lower-case hex digits, not
// all of them zero.
func IsTraceID(text string) bool {
	_, err := trace.TraceIDFromHex(text)
	return err == nil
}
