package traces

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// answer is what Jaeger's query API answers to GET /api/traces/{traceID}, v1
// and v2 alike, as far as it is read here.
type answer struct {
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

// errForeignAnswer: something answered, and it is not Jaeger's query API.
var errForeignAnswer = errors.New("not an answer of Jaeger's query API")

// Limits of what a span may say about time: the last year that RFC 3339 can
// write, and what a time.Duration holds.
const (
	latestMicros  = 253_402_300_799_999_999
	longestMicros = 100 * 365 * 24 * 3600 * 1_000_000
)

// decode reads the trace with that id, 32 lower-case hex digits, from Jaeger's
// answer. It returns [ErrUnknownTrace] where the answer has none of its spans.
func decode(body []byte, id string) (Trace, error) {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return Trace{}, fmt.Errorf("%w: %w", errForeignAnswer, err)
	}
	t := Trace{ID: id}
	for _, d := range a.Data {
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

func spanID(text string) string { return padded(clean(text, maxText), 16) }

// padded is an id as it is written today: lower case, with the leading zeros
// that old versions of Jaeger leave out.
func padded(id string, length int) string {
	return strings.Repeat("0", max(0, length-len(id))) + strings.ToLower(id)
}
