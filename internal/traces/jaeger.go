package traces

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Jaeger is a Jaeger, read by its query API.
type Jaeger struct {
	// URL is where its user interface is, such as http://127.0.0.1:16686.
	URL string
	// Timeout bounds each answer; 0 does not.
	Timeout time.Duration
}

// Trace implements [Source].
func (j Jaeger) Trace(ctx context.Context, id string) (Trace, error) {
	return j.ask(ctx, func(base *url.URL) *url.URL { return base.JoinPath("api", "traces", id) },
		func(body []byte) (Trace, error) { return decode(body, id) })
}

const (
	// lookBack is how far back an order is looked for, and fewTraces how many
	// of its traces are looked at: it is in one, unless somebody repeats its id.
	lookBack  = 35 * 24 * time.Hour
	fewTraces = 20
)

// Order implements [Source]: it looks for spans that have the order's id as
// their record's key.
func (j Jaeger) Order(ctx context.Context, order string) (Trace, error) {
	tags, err := json.Marshal(map[string]string{keyAttribute: order})
	if err != nil {
		return Trace{}, fmt.Errorf("%w: %w", ErrAway, err)
	}
	now := time.Now()
	return j.ask(ctx, func(base *url.URL) *url.URL {
		address := base.JoinPath("api", "traces")
		address.RawQuery = url.Values{
			"service": {firstService}, "tags": {string(tags)}, "limit": {strconv.Itoa(fewTraces)},
			"start": {strconv.FormatInt(now.Add(-lookBack).UnixMicro(), 10)}, "end": {strconv.FormatInt(now.UnixMicro(), 10)},
		}.Encode()
		return address
	}, decodeLatest)
}

const (
	keyAttribute = "messaging.kafka.message.key"
	firstService = "commande" // has a span of every order
)

func (j Jaeger) ask(ctx context.Context, where func(*url.URL) *url.URL, read func([]byte) (Trace, error)) (Trace, error) {
	base, err := baseURL(j.URL)
	if err != nil {
		return Trace{}, fmt.Errorf("Jaeger %w: %w", ErrAway, err) //nolint:revive // a name
	}
	t, err := query{timeout: j.Timeout}.trace(ctx, where(base).String(), read, errorIn)
	if err != nil {
		return Trace{}, fmt.Errorf("Jaeger at %s %w", base.Redacted(), err) //nolint:revive // a name
	}
	return t, nil
}

// errorIn is the error that a response of Jaeger contains, or "".
func errorIn(body []byte) string {
	var r response
	if json.Unmarshal(body, &r) != nil || len(r.Errors) == 0 {
		return ""
	}
	return clean(r.Errors[0].Msg, maxName)
}

// response is what Jaeger's query API returns for GET /api/traces/{traceID}, v1
// and v2 alike, as far as it is read here.
type response struct {
	Data []struct {
		Spans     []wireSpan `json:"spans"`
		Processes map[string]struct {
			ServiceName string `json:"serviceName"`
		} `json:"processes"`
	} `json:"data"`
	Errors []struct {
		Code int    `json:"code"`
		Msg  string `json:"msg"`
	} `json:"errors"`
}

type wireSpan struct {
	TraceID       string          `json:"traceID"`
	SpanID        string          `json:"spanID"`
	ParentSpanID  string          `json:"parentSpanID"` // of old versions
	OperationName string          `json:"operationName"`
	References    []wireReference `json:"references"`
	StartTime     uint64          `json:"startTime"` // µs since 1970
	Duration      uint64          `json:"duration"`  // µs
	Tags          []wireTag       `json:"tags"`
	ProcessID     string          `json:"processID"`
}

type wireReference struct {
	RefType string `json:"refType"`
	TraceID string `json:"traceID"`
	SpanID  string `json:"spanID"`
}

type wireTag struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// Limits of what a span may say about time: the last year that RFC 3339 can
// write, and what a time.Duration holds.
const (
	latestMicros  = 253_402_300_799_999_999
	longestMicros = 100 * 365 * 24 * 3600 * 1_000_000
)

// decode reads the trace with that id, 32 lower-case hex digits, from Jaeger's
// answer. It returns [ErrUnknownTrace] where the answer has none of its spans.
func decode(body []byte, id string) (Trace, error) {
	var r response
	if err := json.Unmarshal(body, &r); err != nil {
		return Trace{}, fmt.Errorf("%w: %w", errForeignResponse, err)
	}
	t := Trace{ID: id}
	for _, d := range r.Data {
		for _, w := range d.Spans {
			if padded(w.TraceID, len(id)) == id {
				t.Spans = append(t.Spans, w.span(id, d.Processes[w.ProcessID].ServiceName))
			}
		}
	}
	if len(t.Spans) == 0 {
		return Trace{}, ErrUnknownTrace
	}
	return t, nil
}

// decodeLatest reads the trace that begins last, of those in Jaeger's answer.
func decodeLatest(body []byte) (Trace, error) {
	var r response
	if err := json.Unmarshal(body, &r); err != nil {
		return Trace{}, fmt.Errorf("%w: %w", errForeignResponse, err)
	}
	id, last := "", uint64(0)
	for _, d := range r.Data {
		for _, w := range d.Spans {
			if known := padded(clean(w.TraceID, maxText), traceIDLength); IsTraceID(known) && (id == "" || w.StartTime > last) {
				id, last = known, w.StartTime
			}
		}
	}
	if id == "" {
		return Trace{}, ErrUnknownTrace
	}
	return decode(body, id)
}

const traceIDLength = 32

func (w wireSpan) span(trace, service string) Span {
	s := Span{
		ID: spanID(w.SpanID), Service: clean(service, maxText), Name: clean(w.OperationName, maxName),
		Start:    time.UnixMicro(int64(min(w.StartTime, latestMicros))).UTC(),
		Duration: time.Duration(min(w.Duration, uint64(longestMicros))) * time.Microsecond,
	}
	if w.ParentSpanID != "" {
		s.Parent = spanID(w.ParentSpanID)
	}
	for _, r := range w.References {
		link := Link{padded(clean(r.TraceID, maxText), len(trace)), spanID(r.SpanID)}
		switch {
		case r.RefType == "CHILD_OF" && link.TraceID == trace && (s.Parent == "" || s.Parent == link.SpanID):
			s.Parent = link.SpanID
		case IsTraceID(link.TraceID) && len(s.Links) < maxLinks:
			s.Links = append(s.Links, link)
		}
	}
	errorType := ""
	for _, t := range w.Tags {
		s.take(t, &errorType)
	}
	if s.Failed && s.Error == "" {
		s.Error = errorType
	}
	return s
}

// take reads one tag: what Jaeger makes of a span's status, or an attribute.
func (s *Span) take(t wireTag, errorType *string) {
	switch t.Key {
	case "error":
		s.Failed = s.Failed || t.text() == "true"
	case "otel.status_code":
		s.Failed = s.Failed || t.text() == "ERROR"
	case "otel.status_description":
		s.Error = t.text()
	case "error.type":
		*errorType = t.text()
	default:
		s.attribute(t.Key, t.text())
	}
}

// text is the attribute's value, whatever its type.
func (t wireTag) text() string {
	var text string
	if bytes.HasPrefix(t.Value, []byte{'"'}) && json.Unmarshal(t.Value, &text) == nil {
		return clean(text, maxText)
	}
	return clean(string(t.Value), maxText)
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

func spanID(text string) string { return padded(clean(text, maxText), 16) }

// padded is an id as it is written today: lower case, with the leading zeros
// that old versions of Jaeger leave out.
func padded(id string, length int) string {
	return strings.Repeat("0", max(0, length-len(id))) + strings.ToLower(id)
}
