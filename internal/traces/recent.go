package traces

import (
	"cmp"
	"container/list"
	"context"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry"
)

// Limits bound what [Recent] keeps. The zero value has every default.
type Limits struct {
	// Started is how many traces may begin in any second; default 10.
	Started int
	// Bytes is how much memory the traces may take, by their estimated size;
	// default 64 MB.
	Bytes int64
	// Slow is from when on a trace is kept longer; default 1 s.
	Slow time.Duration
}

func (l Limits) withDefaults() Limits {
	l.Started, l.Bytes, l.Slow = cmp.Or(l.Started, 10), cmp.Or(l.Bytes, 64_000_000), cmp.Or(l.Slow, time.Second)
	return l
}

// Recent keeps the traces of some of the requests that came last, in memory: a
// trace is taken when its first span starts, so that all its spans are there or
// none is, and a request that is passed over costs next to nothing. It is a
// telemetry.Keeper that the services of one process share, and a [Source]. All
// methods are safe for concurrent use; it starts no goroutine.
//
// Where memory runs out the oldest trace goes; one in which something failed, or
// that took long, goes only when there is none else, or when such traces have
// half of the memory.
type Recent struct {
	limits Limits
	now    func() time.Time

	mu     sync.RWMutex
	traces map[trace.TraceID]*kept
	orders map[string]*kept // by the order's id, the trace that has it last
	kinds  [kinds]class
	starts []time.Time // of the last traces, a ring
	next   int         // its oldest
	counts counts
}

// kind says how long a trace is kept.
type kind int

const (
	ordinary kind = iota
	notable       // something failed or took long
	kinds
)

// class is the traces of a kind.
type class struct {
	byAge list.List // of *kept, the oldest first
	bytes int64
}

// counts are what became of traces since the start.
type counts struct{ kept, passedOver, dropped, spansDropped int64 }

// NewRecent makes an empty store.
func NewRecent(limits Limits) *Recent {
	limits = limits.withDefaults()
	return &Recent{
		limits: limits, now: time.Now, traces: map[trace.TraceID]*kept{}, orders: map[string]*kept{},
		starts: make([]time.Time, limits.Started),
	}
}

// kept is one trace, and keptSpan one of its spans, as small as they get.
type kept struct {
	id         trace.TraceID
	batch      bool // work for several records, linked from their traces
	kind       kind
	place      *list.Element
	bytes      int64
	start, end int64 // nanoseconds since 1970; 0 before the first span
	spans      []keptSpan
	orders     []string
}

type keptSpan struct {
	id, parent    trace.SpanID
	failed        bool
	status        int16 // of HTTP; 0 is none
	partition     int32 // -1 is none
	records       int32 // of a batch; 0 is none
	attempts      int32 // likewise
	offset        int64 // -1 is none
	start         int64 // nanoseconds since 1970
	duration      time.Duration
	service, name string
	error, topic  string
	links         []keptLink
}

type keptLink struct {
	trace trace.TraceID
	span  trace.SpanID
}

// What a trace takes beside its spans, in bytes: its entries in two lists and a
// map. Maps are between half and seven eighths full.
const (
	overhead      = int64(unsafe.Sizeof(kept{})+unsafe.Sizeof(list.Element{})) + 2*(16+8+8)
	orderOverhead = 2*(16+8+8) + 16
	// largest is the largest share of the memory that one trace takes: a
	// client may send any number of requests in one trace.
	largest = 64
)

// Keeps implements telemetry.Keeper. A trace is taken with the first span of a
// request: one without a parent, or whose parent is a client's who has it
// sampled. The spans of batches are kept where one of their records' is.
func (r *Recent) Keeps(p sdktrace.SamplingParameters) bool {
	r.mu.RLock()
	_, known := r.traces[p.TraceID]
	linked := !known && slices.ContainsFunc(p.Links, func(l trace.Link) bool { return r.traces[l.SpanContext.TraceID()] != nil })
	r.mu.RUnlock()
	switch parent := trace.SpanContextFromContext(p.ParentContext); {
	case known:
		return true
	case parent.IsValid() && (!parent.IsRemote() || !parent.IsSampled()):
		return false
	case linked: // there are few batches to each trace
		return r.take(p.TraceID, true, share{})
	case p.Kind != trace.SpanKindServer:
		return false
	default:
		return r.take(p.TraceID, false, r.shareOf(p.Name))
	}
}

// share is how many traces of a sort may begin in a second.
type share struct {
	most int
	// spread has half of them begin at once and the rest a while apart, so that
	// a second of many requests shows more than its first milliseconds.
	spread bool
}

// shareOf leaves a part of the limit to traces that somebody is about to look
// at, and half of it to requests that change something.
func (r *Recent) shareOf(name string) share {
	if strings.HasPrefix(name, "GET") || strings.HasPrefix(name, "HEAD") {
		return share{max(r.limits.Started/2, 1), true}
	}
	return share{r.limits.Started - r.limits.Started/5, true}
}

// Follow has the trace with that id kept, 32 lower-case hex digits, whose first
// request is about to be sent, since somebody wants to see it. It returns false
// where too many traces have begun in this second.
func (r *Recent) Follow(id string) bool {
	parsed, err := trace.TraceIDFromHex(id)
	return err == nil && r.take(parsed, false, share{most: r.limits.Started})
}

// take begins to keep a trace, where there is room.
func (r *Recent) take(id trace.TraceID, batch bool, s share) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.traces[id]; known {
		return true
	}
	if !batch {
		now := r.now()
		if !r.room(now, s) {
			r.counts.passedOver++
			return false
		}
		r.counts.kept++
		r.starts[r.next], r.next = now, (r.next+1)%len(r.starts)
	}
	k := &kept{id: id, batch: batch}
	r.traces[id] = k
	k.place = r.kinds[ordinary].byAge.PushBack(k)
	r.grow(k, overhead)
	r.shrink(k)
	return true
}

func (r *Recent) room(now time.Time, s share) bool {
	if r.began(now, s.most) {
		return false
	}
	half := max(s.most/2, 1)
	last := r.starts[(r.next+len(r.starts)-1)%len(r.starts)]
	return !s.spread || !r.began(now, half) || now.Sub(last) >= time.Second/time.Duration(len(r.starts))
}

// began says whether n traces or more began in the second before now.
func (r *Recent) began(now time.Time, n int) bool {
	start := r.starts[(r.next+len(r.starts)-n)%len(r.starts)]
	return !start.IsZero() && now.Sub(start) < time.Second
}

// OnEnd implements telemetry.Keeper.
func (r *Recent) OnEnd(span sdktrace.ReadOnlySpan) {
	id := span.SpanContext().TraceID()
	r.mu.RLock()
	_, known := r.traces[id]
	r.mu.RUnlock()
	if !known {
		return // sampled, and not kept
	}
	s, order := compact(span)
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, known := r.traces[id]; known { // else it has gone meanwhile
		r.add(k, s, order)
	}
}

func (r *Recent) add(k *kept, s keptSpan, order string) {
	if k.bytes+s.size() > r.limits.Bytes/largest {
		r.counts.spansDropped++
		return
	}
	before := int64(cap(k.spans)) * int64(unsafe.Sizeof(s))
	k.spans = append(k.spans, s)
	r.grow(k, s.size()+int64(cap(k.spans))*int64(unsafe.Sizeof(s))-before)
	if k.start == 0 || s.start < k.start {
		k.start = s.start
	}
	k.end = max(k.end, s.start+int64(s.duration))
	if k.kind == ordinary && (s.failed || time.Duration(k.end-k.start) >= r.limits.Slow) {
		r.kinds[ordinary].byAge.Remove(k.place)
		r.kinds[ordinary].bytes -= k.bytes
		k.kind, k.place = notable, r.kinds[notable].byAge.PushBack(k)
		r.kinds[notable].bytes += k.bytes
	}
	if order != "" && r.orders[order] != k {
		r.orders[order] = k
		if !slices.Contains(k.orders, order) {
			k.orders = append(k.orders, order)
			r.grow(k, int64(len(order))+orderOverhead)
		}
	}
	r.shrink(k)
}

// grow notes what a trace takes more.
func (r *Recent) grow(k *kept, bytes int64) {
	k.bytes += bytes
	r.kinds[k.kind].bytes += bytes
}

// shrink drops traces until the rest fits; never the one given, which has just
// been added to.
func (r *Recent) shrink(but *kept) {
	for r.kinds[ordinary].bytes+r.kinds[notable].bytes > r.limits.Bytes {
		oldest := r.kinds[ordinary].byAge.Front()
		if oldest == nil || oldest.Value == but || r.kinds[notable].bytes > r.limits.Bytes/2 {
			oldest = r.kinds[notable].byAge.Front()
		}
		if oldest == nil || oldest.Value == but {
			return // a small share of the limit: see largest
		}
		r.drop(oldest.Value.(*kept)) //nolint:forcetypeassert // it holds nothing else
	}
}

func (r *Recent) drop(k *kept) {
	delete(r.traces, k.id)
	for _, order := range k.orders {
		if r.orders[order] == k {
			delete(r.orders, order)
		}
	}
	r.kinds[k.kind].byAge.Remove(k.place)
	r.kinds[k.kind].bytes -= k.bytes
	if !k.batch {
		r.counts.dropped++
	}
}

// compact takes from a span what is shown of it, and the order that it is about.
func compact(span sdktrace.ReadOnlySpan) (s keptSpan, order string) {
	s = keptSpan{
		id: span.SpanContext().SpanID(), parent: span.Parent().SpanID(), partition: -1, offset: -1,
		start: span.StartTime().UnixNano(), duration: max(span.EndTime().Sub(span.StartTime()), 0), name: clean(span.Name(), maxName),
	}
	service, _ := span.Resource().Set().Value("service.name")
	s.service = clean(service.AsString(), maxText)
	kind := ""
	for _, a := range span.Attributes() {
		switch key := string(a.Key); key {
		case "http.response.status_code":
			s.status = int16(a.Value.AsInt64()) //nolint:gosec // three digits
		case "messaging.destination.name":
			s.topic = clean(a.Value.AsString(), maxText)
		case "messaging.destination.partition.id":
			s.partition = number(a.Value.AsString())
		case "messaging.kafka.offset":
			s.offset = a.Value.AsInt64()
		case "messaging.batch.message_count":
			s.records = int32(a.Value.AsInt64()) //nolint:gosec // of records in memory
		case keyAttribute:
			order = a.Value.AsString()
		case "error.type":
			kind = a.Value.AsString()
		default:
			if strings.HasSuffix(key, "attempts") {
				s.attempts = int32(a.Value.AsInt64()) //nolint:gosec // a few
			}
		}
	}
	if s.failed = span.Status().Code == codes.Error; s.failed {
		s.error = clean(cmp.Or(span.Status().Description, kind), maxText)
	}
	for _, l := range span.Links() {
		s.links = append(s.links, keptLink{l.SpanContext.TraceID(), l.SpanContext.SpanID()})
	}
	return s, order
}

// number reads a partition's number; -1 is none.
func number(text string) int32 {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return -1
	}
	return int32(n)
}

// size is what the span takes beside itself. Texts count, also where spans share
// them.
func (s keptSpan) size() int64 {
	return int64(len(s.service)+len(s.name)+len(s.error)+len(s.topic)) + int64(cap(s.links))*int64(unsafe.Sizeof(keptLink{}))
}

// Trace implements [Source].
func (r *Recent) Trace(_ context.Context, id string) (Trace, error) {
	parsed, err := trace.TraceIDFromHex(id)
	if err != nil {
		return Trace{}, ErrUnknownTrace
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.traces[parsed].read()
}

// Order implements [Source].
func (r *Recent) Order(_ context.Context, order string) (Trace, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.orders[order].read()
}

// read is the trace for others; one that is nil, or has only begun, is not known.
func (k *kept) read() (Trace, error) {
	if k == nil || len(k.spans) == 0 {
		return Trace{}, ErrUnknownTrace
	}
	t := Trace{ID: k.id.String(), Spans: make([]Span, len(k.spans))}
	for i, s := range k.spans {
		t.Spans[i] = s.read()
	}
	return t, nil
}

func (s keptSpan) read() Span {
	text := func(n int64, none int64) string {
		if n == none {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	out := Span{
		ID: s.id.String(), Service: s.service, Name: s.name,
		Start: time.Unix(0, s.start).UTC(), Duration: s.duration, Failed: s.failed, Error: s.error,
		HTTPStatus: text(int64(s.status), 0), Topic: s.topic, Partition: text(int64(s.partition), -1), Offset: text(s.offset, -1),
		Attempts: text(int64(s.attempts), 0), Records: text(int64(s.records), 0),
	}
	if s.parent.IsValid() {
		out.Parent = s.parent.String()
	}
	for _, l := range s.links {
		out.Links = append(out.Links, Link{hex.EncodeToString(l.trace[:]), hex.EncodeToString(l.span[:])})
	}
	return out
}

// Names of the metrics.
const (
	metricKept         = "recent_traces_kept"
	metricMemory       = "recent_traces_memory_bytes"
	metricTraces       = "recent_traces_total"
	metricSpansDropped = "recent_trace_spans_dropped_total"
)

// Catalogue is the metrics of [Recent].
func Catalogue() telemetry.Catalogue {
	return telemetry.Catalogue{
		{
			Name: metricKept, Kind: telemetry.Gauge, Labels: []string{"kind"}, Bound: "ordinary, or notable", MaxSeries: int(kinds),
			Help: "Traces that are kept in this process; notable are those in which something failed or that took long, and batches count too.",
		},
		{Name: metricMemory, Kind: telemetry.Gauge, Unit: "By", Help: "Memory that these traces take, estimated."},
		{
			Name: metricTraces, Kind: telemetry.Counter, Labels: []string{"outcome"}, Bound: "kept, passed_over or dropped", MaxSeries: 3,
			Help: "Traces that were kept, passed over since too many began at once, and dropped again to make room.",
		},
		{
			Name: metricSpansDropped, Kind: telemetry.Counter,
			Help: "Spans that were left out of a trace that is kept, since it was too large.",
		},
	}
}

// Measure has a scrape read how much is kept, as [Catalogue] has it.
func (r *Recent) Measure(instruments *telemetry.Instruments) (metric.Registration, error) {
	with := func(key, value string) metric.ObserveOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String(key, value)))
	}
	ofOrdinary, ofNotable := with("kind", "ordinary"), with("kind", "notable")
	ofKept, ofPassedOver, ofDropped := with("outcome", "kept"), with("outcome", "passed_over"), with("outcome", "dropped")
	names := []string{metricKept, metricMemory, metricTraces, metricSpansDropped}
	return instruments.Observe(names, func(_ context.Context, o telemetry.Observation) error {
		r.mu.RLock()
		defer r.mu.RUnlock()
		o.Gauge(metricKept, float64(r.kinds[ordinary].byAge.Len()), ofOrdinary)
		o.Gauge(metricKept, float64(r.kinds[notable].byAge.Len()), ofNotable)
		o.Gauge(metricMemory, float64(r.kinds[ordinary].bytes+r.kinds[notable].bytes))
		o.Counter(metricTraces, r.counts.kept, ofKept)
		o.Counter(metricTraces, r.counts.passedOver, ofPassedOver)
		o.Counter(metricTraces, r.counts.dropped, ofDropped)
		o.Counter(metricSpansDropped, r.counts.spansDropped)
		return nil
	})
}
