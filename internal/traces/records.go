package traces

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
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

// Source is the cluster that the order's records are in.
type Source struct {
	Kafka  kafka.Config
	Client sarama.Client // of that cluster
	// Progress is called with how many offsets of all have been passed; nil is
	// fine. It is called by one goroutine at a time.
	Progress func(done, total int64)
}

// Window is when an order's records were written, as far as is known: the
// first not before From, the last not after Until. A zero time bounds nothing.
type Window struct{ From, Until time.Time }

// Facts reads the partitions that hold the order's records, those of its key,
// and returns what its records say in the order of their times. What the
// window leaves out is not read; but dead letters, and what is done with them,
// may come at any time later, and widen it.
func (s Source) Facts(ctx context.Context, order string, w Window) ([]Fact, error) {
	r := reading{order: order, progress: s.Progress}
	letters, err := s.spans(order, w.From, deadletters.Topics())
	if err != nil {
		return nil, err
	}
	rest, err := s.spans(order, w.From, eventTopics())
	if err != nil {
		return nil, err
	}
	r.total = length(letters) + length(rest)
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
		if err := s.cut(rest, until.Add(margin)); err != nil {
			return nil, err
		}
		r.total = r.done + length(rest)
	}
	if err := kafka.Scan(ctx, s.Kafka, rest, r.add); err != nil {
		return nil, fmt.Errorf("read the order's records: %w", err)
	}
	slices.SortFunc(r.facts, func(a, b Fact) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(rank(a), rank(b)), strings.Compare(a.Place.Topic, b.Place.Topic),
			cmp.Compare(a.Place.Offset, b.Place.Offset))
	})
	return r.facts, nil
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

// spans returns what the topics' partitions of the key hold, from a margin
// before the time on. All writers choose the partition by sarama's hash.
func (s Source) spans(key string, from time.Time, topics []string) ([]kafka.Span, error) {
	bounds, err := kafka.Bounds(s.Client, topics...)
	if err != nil {
		return nil, err
	}
	var out []kafka.Span
	for _, topic := range topics {
		partition, err := s.partition(topic, key)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(bounds, func(b kafka.Span) bool { return b.Topic == topic && b.ID == partition })
		if i < 0 {
			return nil, fmt.Errorf("%s has no partition %d", topic, partition)
		}
		span := bounds[i]
		if !from.IsZero() {
			at, err := s.offset(span, from.Add(-margin))
			if err != nil {
				return nil, err
			}
			span.Start = min(max(span.Start, at), span.End)
		}
		out = append(out, span)
	}
	return out, nil
}

// partition is where records with the key are.
func (s Source) partition(topic, key string) (int32, error) {
	partitions, err := s.Client.Partitions(topic)
	if err != nil {
		return 0, fmt.Errorf("list partitions of %s: %w", topic, err)
	}
	id, err := sarama.NewHashPartitioner(topic).Partition(
		&sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(key)}, int32(len(partitions))) //nolint:gosec // few
	if err != nil {
		return 0, fmt.Errorf("choose a partition of %s: %w", topic, err)
	}
	return id, nil
}

// cut ends the spans where records become younger than the time.
func (s Source) cut(spans []kafka.Span, until time.Time) error {
	for i, span := range spans {
		at, err := s.offset(span, until)
		if err != nil {
			return err
		}
		spans[i].End = max(span.Start, min(span.End, at))
	}
	return nil
}

// offset is that of the first record written at that time or later, or the
// span's end.
func (s Source) offset(span kafka.Span, at time.Time) (int64, error) {
	offset, err := s.Client.GetOffset(span.Topic, span.ID, max(at.UnixMilli(), 0))
	if err != nil {
		return 0, fmt.Errorf("read the offset of a time in %s: %w", span.Partition, err)
	}
	if offset < 0 { // all records are older
		return span.End, nil
	}
	return offset, nil
}

func length(spans []kafka.Span) (n int64) {
	for _, s := range spans {
		n += s.End - s.Start
	}
	return n
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

// Context is a trace context, as far as it is needed here.
type Context struct {
	TraceID, SpanID string // lower-case hex digits; "" where there is none
	Sampled         bool
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
