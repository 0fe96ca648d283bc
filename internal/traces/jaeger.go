package traces

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
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
	// The attributes that say something about an order's way. "" is none.
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

var (
	// ErrUnknownTrace: Jaeger answers, and has no span of the trace.
	ErrUnknownTrace = errors.New("does not know the trace")
	// ErrNoJaeger: nothing answers there, or not as Jaeger does.
	ErrNoJaeger = errors.New("does not answer")
)

// maxResponse bounds Jaeger's answer: tens of thousands of spans.
const maxResponse = 32 << 20

// Jaeger is a Jaeger, read by its query API.
type Jaeger struct {
	// URL is where its user interface is, such as http://127.0.0.1:16686.
	URL string
	// Timeout bounds each answer; 0 does not.
	Timeout time.Duration
}

// Trace returns the spans of the trace with that id, 32 lower-case hex digits.
// Errors wrap [ErrUnknownTrace] or [ErrNoJaeger].
func (j Jaeger) Trace(ctx context.Context, id string) (Trace, error) {
	base, err := url.Parse(j.URL)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return Trace{}, fmt.Errorf("Jaeger %w: its URL is not one such as http://127.0.0.1:16686", ErrNoJaeger) //nolint:revive // a name
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: j.Timeout}
	t, err := query(ctx, client, base.JoinPath("api", "traces", id).String(), id)
	if err != nil {
		return Trace{}, fmt.Errorf("Jaeger at %s %w", base.Redacted(), err) //nolint:revive // a name
	}
	return t, nil
}

func query(ctx context.Context, client *http.Client, address, id string) (Trace, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return Trace{}, fmt.Errorf("%w: %w", ErrNoJaeger, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return Trace{}, fmt.Errorf("%w: %s", ErrNoJaeger, Reason(err))
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponse+1))
	switch {
	case err != nil:
		return Trace{}, fmt.Errorf("%w to its end: %s", ErrNoJaeger, Reason(err))
	case len(body) > maxResponse:
		return Trace{}, fmt.Errorf("%w in less than %d MiB", ErrNoJaeger, maxResponse>>20)
	case response.StatusCode == http.StatusNotFound && errorIn(body) != "":
		return Trace{}, ErrUnknownTrace
	case response.StatusCode != http.StatusOK:
		return Trace{}, fmt.Errorf("%w as it should: %s", ErrNoJaeger, strings.TrimSpace(response.Status+" "+errorIn(body)))
	}
	t, err := decode(body, id)
	if errors.Is(err, errForeignResponse) {
		return Trace{}, fmt.Errorf("%w: %w", ErrNoJaeger, err)
	}
	return t, err
}

// errorIn is the error that a response of Jaeger contains, or "".
func errorIn(body []byte) string {
	var r response
	if json.Unmarshal(body, &r) != nil || len(r.Errors) == 0 {
		return ""
	}
	return clean(r.Errors[0].Msg, maxName)
}

// Reason is the error of a question over HTTP in a few words, without the
// address, which is said before it.
func Reason(err error) string {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		if failed.Timeout() {
			return "no answer in time"
		}
		err = failed.Err
	}
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number.Error()
	}
	return err.Error()
}

// errForeignResponse: something answered, and it is not Jaeger's query API.
var errForeignResponse = errors.New("not an answer of Jaeger's query API")

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

// take reads one attribute, if it is one that is shown. The names are those of
// OpenTelemetry's semantic conventions, present and past.
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
	case "http.response.status_code", "http.status_code":
		s.HTTPStatus = t.text()
	case "messaging.destination.name":
		s.Topic = t.text()
	case "messaging.destination.partition.id", "messaging.kafka.destination.partition":
		s.Partition = t.text()
	case "messaging.kafka.offset", "messaging.kafka.message.offset":
		s.Offset = t.text()
	case "messaging.batch.message_count":
		s.Records = t.text()
	default:
		if t.Key == "attempts" || strings.HasSuffix(t.Key, ".attempts") {
			s.Attempts = t.text()
		}
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

// maxBatches bounds how many batches are asked for: they are an ornament.
const maxBatches = 24

// Batches notes in the tree how many records the batches had that its spans
// were part of. What a service does for many records at once is a trace of its
// own; the part of it that is in a record's trace has its name and one link to
// it. What Jaeger has not answered when ctx ends stays unsaid.
func (j Jaeger) Batches(ctx context.Context, t Tree) {
	batches := map[string][]Span{}
	for i := range t.Lines {
		l := &t.Lines[i]
		if len(l.Links) != 1 || l.Links[0].TraceID == t.TraceID {
			continue
		}
		link := l.Links[0]
		spans, known := batches[link.TraceID]
		if !known {
			if len(batches) == maxBatches {
				continue
			}
			spans = j.batchesIn(ctx, link.TraceID)
			batches[link.TraceID] = spans
		}
		for _, s := range spans {
			if s.ID == link.SpanID && s.Name == l.Name {
				l.Batch = s.Records
			}
		}
	}
}

// batchesIn returns the spans of a trace that were for many records.
func (j Jaeger) batchesIn(ctx context.Context, id string) (found []Span) {
	trace, err := j.Trace(ctx, id)
	if err != nil {
		return nil
	}
	for _, s := range trace.Spans {
		if s.Records != "" {
			found = append(found, s)
		}
	}
	return found
}
