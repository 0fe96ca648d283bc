// Package traces shows the story of one order: as the tree of its trace's
// spans where a [Source] has them, which is a Jaeger or what a running instance
// keeps in its memory, and from the order's records in Kafka where none has,
// since the records carry the trace id and say who caused whom even when no span
// was kept.
//
// It only reads. What it says about an order names places, times and outcomes,
// never who ordered, what, or for how much. Texts that come from elsewhere are
// cut and cleaned before they reach a terminal.
//
// report.go has the [Report], for people and machines. records.go reads an
// order's records from Kafka, and story.go puts each below what caused it.
// outcome.go says why an order is where it is.
// source.go says what a source is, and reads a running instance; recent.go keeps
// traces in memory, jaeger.go reads them from Jaeger. tree.go arranges a trace's
// spans and prints them.
package traces

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Report is one order's story, or one trace.
type Report struct {
	// Order is the order's id; "" where a trace was named.
	Order string
	// Status is what suivi says, such as PAYMENT_AUTHORIZED; "" is unknown.
	Status string
	// TraceID is the trace that the order began in; "" where its records carry
	// no context.
	TraceID string
	// Tree is what a source has of it; without lines where none has anything.
	Tree Tree
	// From is which source that is, such as jaeger.
	From string
	// Facts are what the order's records say, by time.
	Facts []Fact
	// Why says why the story comes from the records and not from spans.
	Why string
	// Outcome is how the story ends.
	Outcome Outcome
	// Notes are sentences for people, printed at the end.
	Notes []string
}

// TraceIDs returns the traces that the facts are in, in the order of the facts.
func TraceIDs(facts []Fact) (ids []string) {
	for _, f := range facts {
		if id := f.Context.TraceID; id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Sampled says whether any of the order's records carries a context that is
// sampled.
func Sampled(facts []Fact) bool {
	return slices.ContainsFunc(facts, func(f Fact) bool { return f.Context.Sampled })
}

// Text is the report for people: what it is about, the tree, and what has to
// be known to read it. It has limit lines of the tree at most; 0 is all.
func (r Report) Text(limit int) string {
	var b strings.Builder
	if r.Order != "" {
		b.WriteString(strings.TrimSpace(r.Order+gap+r.Status) + "\n")
	}
	if r.TraceID != "" {
		b.WriteString("trace " + r.TraceID)
	} else {
		b.WriteString("no trace: the records carry no context")
	}
	if len(r.Tree.Lines) > 0 {
		fmt.Fprintf(&b, "%s%s\n%s of %s in %s\n\n%s", gap, day(r.Tree.Start), plural(len(r.Tree.Lines), "span"),
			plural(r.Tree.Services, "service"), period(r.Tree.Duration), r.Tree.text(limit))
	} else {
		fmt.Fprintf(&b, "%s%s\nfrom Kafka's records: %s\n\n%s", gap, day(r.Facts[0].Time), r.Why, storyText(r.Facts, limit))
	}
	notes := r.Notes
	if r.Outcome.Reason != "" {
		notes = append(slices.Clone(notes), r.Outcome.Reason)
	}
	if r.Outcome.Next != "" {
		notes = append(notes, "Next: "+r.Outcome.Next)
	}
	for i, note := range notes {
		if i == 0 {
			b.WriteString("\n")
		}
		b.WriteString(note + "\n")
	}
	return b.String()
}

// MarshalJSON writes the report for machines.
func (r Report) MarshalJSON() ([]byte, error) { return json.Marshal(r.Document()) }

// Document is the report for machines, which docs/json.md describes. Fields are
// added, never renamed.
func (r Report) Document() ReportDocument {
	out := ReportDocument{
		Order: r.Order, Status: r.Status, TraceID: r.TraceID, Source: "kafka", Why: r.Why, Reason: r.Outcome.Reason, Next: r.Outcome.Next, Notes: r.Notes,
		Spans: r.Tree.spans(), Records: []jsonFact{},
	}
	if len(r.Tree.Lines) > 0 {
		out.Source, out.Start, out.DurationMicros = r.From, &r.Tree.Start, r.Tree.Duration.Microseconds()
	}
	for _, e := range arrangeStory(r.Facts, false) {
		out.Records = append(out.Records, factJSON(e))
	}
	return out
}

// ReportDocument is a [Report] as JSON has it.
type ReportDocument struct {
	Order          string     `json:"order,omitempty"`
	Status         string     `json:"status,omitempty"`
	TraceID        string     `json:"traceId,omitempty"`
	Source         string     `json:"source"` // jaeger, instance or kafka
	Why            string     `json:"why,omitempty"`
	Start          *time.Time `json:"start,omitempty"`
	DurationMicros int64      `json:"durationMicros,omitempty"`
	Spans          []jsonSpan `json:"spans"`            // as the tree has them, parents first
	Records        []jsonFact `json:"records"`          // likewise
	Reason         string     `json:"reason,omitempty"` // why the order is where it is
	Next           string     `json:"next,omitempty"`   // the command to type next
	Notes          []string   `json:"notes,omitempty"`
}

// document is a trace for machines: what sentinelle answers and [Instance]
// reads. Fields are added, never renamed.
type document struct {
	TraceID        string     `json:"traceId"`
	Start          time.Time  `json:"start"`
	DurationMicros int64      `json:"durationMicros"`
	Services       int        `json:"services"`
	Spans          []jsonSpan `json:"spans"` // as the tree has them, parents first
}

// MarshalJSON writes the tree for machines.
func (t Tree) MarshalJSON() ([]byte, error) {
	return json.Marshal(document{t.TraceID, t.Start, t.Duration.Microseconds(), t.Services, t.spans()})
}

func (t Tree) spans() []jsonSpan {
	out := make([]jsonSpan, len(t.Lines))
	for i, l := range t.Lines {
		out[i] = jsonSpan{l.Span, l.Depth, l.After.Microseconds(), l.Duration.Microseconds(), l.Detached}
	}
	return out
}

type jsonSpan struct {
	Span
	Depth          int    `json:"depth"`
	AfterMicros    int64  `json:"afterMicros"`
	DurationMicros int64  `json:"durationMicros"`
	Detached       string `json:"detached,omitempty"`
}

type jsonFact struct {
	Kind            string    `json:"kind"`
	Place           string    `json:"place"` // TOPIC/PARTITION/OFFSET
	Time            time.Time `json:"time"`
	Writer          string    `json:"writer"`
	Depth           int       `json:"depth"`
	Repeated        string    `json:"repeated,omitempty"` // replay or copy
	TraceID         string    `json:"traceId,omitempty"`
	SpanID          string    `json:"spanId,omitempty"`
	Sampled         bool      `json:"sampled"`
	EventID         string    `json:"eventId,omitempty"`
	OriginalEventID string    `json:"originalEventId,omitempty"`
	Origin          string    `json:"origin,omitempty"` // of a dead letter its record, of a marker its letter
	Group           string    `json:"group,omitempty"`
	Reason          string    `json:"reason,omitempty"`
	Attempts        int       `json:"attempts,omitempty"`
	Resolution      string    `json:"resolution,omitempty"` // Replayed or Purged
}

func factJSON(e entry) jsonFact {
	out := jsonFact{
		Kind: e.Kind, Place: e.Place.String(), Time: e.Time, Writer: e.writer(), Depth: e.depth, Repeated: e.repeated,
		TraceID: e.Context.TraceID, SpanID: e.Context.SpanID, Sampled: e.Context.Sampled,
		EventID: e.EventID, OriginalEventID: e.OriginalEventID,
		Group: e.Group, Reason: e.Reason, Attempts: e.Attempts, Resolution: e.resolved,
	}
	if e.Origin.Topic != "" {
		out.Origin = e.Origin.String()
	}
	return out
}
