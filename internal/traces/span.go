package traces

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Trace is what Jaeger has of one trace, in no particular order.
type Trace struct {
	ID    string // 32 lower-case hex digits
	Spans []Span
}

// Span is one piece of work. Its texts are printable and short.
type Span struct {
	ID       string        `json:"spanId"`
	Parent   string        `json:"parentSpanId,omitempty"`
	Service  string        `json:"service"`
	Name     string        `json:"name"`
	Start    time.Time     `json:"start"`
	Duration time.Duration `json:"-"`
	// Failed says that the span's status is an error; Error is its message.
	Failed bool   `json:"failed,omitempty"`
	Error  string `json:"error,omitempty"`
	// The attributes that tell something about an order's way. "" is none.
	HTTPStatus string `json:"httpStatus,omitempty"`
	Topic      string `json:"topic,omitempty"`
	Partition  string `json:"partition,omitempty"`
	Offset     string `json:"offset,omitempty"`
	Attempts   string `json:"attempts,omitempty"`
	Records    string `json:"records,omitempty"` // of a batch
	// Batch is how many records the batch had that the span was part of; see
	// [Jaeger.Batches].
	Batch string `json:"batch,omitempty"`
	Links []Link `json:"links,omitempty"`
}

// Link is a span that is related and is not the parent, often of another trace.
type Link struct {
	TraceID string `json:"traceId"`
	SpanID  string `json:"spanId"`
}

// Bounds of texts, in runes, and of links.
const (
	maxName  = 80
	maxText  = 60
	maxLinks = 128 // what the SDK keeps by default
)

// title is the span's name, with the record's place where the name ends with
// its topic: process orders.created/1/0.
func (s Span) title() string {
	if place := s.place(); place != "" && strings.HasSuffix(s.Name, s.Topic) {
		return strings.TrimSuffix(s.Name, s.Topic) + place
	}
	return s.Name
}

// place is the record's place, TOPIC/PARTITION/OFFSET, or "".
func (s Span) place() string {
	if s.Topic == "" || s.Partition == "" || s.Offset == "" {
		return ""
	}
	return s.Topic + "/" + s.Partition + "/" + s.Offset
}

// clean returns at most limit runes of a text, without what a terminal could
// obey or not show.
func clean(text string, limit int) string {
	const most = utf8.UTFMax
	if len(text) > limit*most { // before looking at every rune of a long text
		text = text[:limit*most]
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, strings.ToValidUTF8(text, string(utf8.RuneError)))
	return shortened(text, limit)
}

// shortened cuts a text to limit runes, and shows that it did.
func shortened(text string, limit int) string {
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	return string([]rune(text)[:max(limit-1, 0)]) + "…"
}
