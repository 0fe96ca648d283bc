package traces

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// Source is where traces are read: what this process keeps ([Recent]), the page
// of a running instance ([Instance]), or a Jaeger ([Jaeger]). Its errors wrap
// [ErrUnknownTrace], or [ErrAway] where it is another process.
type Source interface {
	// Trace returns the spans of the trace with that id, 32 lower-case hex
	// digits, as far as they have ended.
	Trace(ctx context.Context, id string) (Trace, error)
	// Order returns the trace that the order was last seen in.
	Order(ctx context.Context, order string) (Trace, error)
}

var (
	// ErrUnknownTrace: the source answers, and has no span of the trace.
	ErrUnknownTrace = errors.New("does not know the trace")
	// ErrAway: nothing answers there, or not as the source does.
	ErrAway = errors.New("does not answer")
)

// Find asks a source for a trace by its id, or for the one of an order: what
// stands behind /traces/ in a path, say.
func Find(ctx context.Context, source Source, text string) (Trace, error) {
	if IsTraceID(text) {
		return source.Trace(ctx, text)
	}
	return source.Order(ctx, text)
}

// Trace is what a source has of one trace, its spans in no particular order.
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
	// [Batches].
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

// attribute reads one attribute, if it is one that is shown. The names are those
// of OpenTelemetry's semantic conventions, present and past.
func (s *Span) attribute(key, text string) {
	switch key {
	case "http.response.status_code", "http.status_code":
		s.HTTPStatus = text
	case "messaging.destination.name":
		s.Topic = text
	case "messaging.destination.partition.id", "messaging.kafka.destination.partition":
		s.Partition = text
	case "messaging.kafka.offset", "messaging.kafka.message.offset":
		s.Offset = text
	case "messaging.batch.message_count":
		s.Records = text
	default:
		if key == "attempts" || strings.HasSuffix(key, ".attempts") {
			s.Attempts = text
		}
	}
}

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

// maxBatches bounds how many batches are asked for: they are an ornament.
const maxBatches = 24

// Batches notes in the tree how many records the batches had that its spans
// were part of. What a service does for many records at once is a trace of its
// own; the part of it that is in a record's trace has its name and one link to
// it. What the source has not answered when ctx ends stays unsaid.
func Batches(ctx context.Context, source Source, t Tree) {
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
			batch, _ := source.Trace(ctx, link.TraceID) // none where it is not known
			spans = batch.Spans
			batches[link.TraceID] = spans
		}
		for _, s := range spans {
			if s.ID == link.SpanID && s.Name == l.Name {
				l.Batch = s.Records
			}
		}
	}
}

// Instance is a running instance whose page tells its recent traces.
type Instance struct {
	// URL is where its page is, such as http://127.0.0.1:3005.
	URL string
	// Timeout bounds each answer; 0 does not.
	Timeout time.Duration
	// Token is the page's, "" for none.
	Token string
	// TLS says how its certificate is checked; nil is as usual.
	TLS *tls.Config
}

// Trace implements [Source].
func (i Instance) Trace(ctx context.Context, id string) (Trace, error) { return i.find(ctx, id) }

// Order implements [Source].
func (i Instance) Order(ctx context.Context, order string) (Trace, error) { return i.find(ctx, order) }

func (i Instance) find(ctx context.Context, what string) (Trace, error) {
	base, err := baseURL(i.URL)
	if err != nil {
		return Trace{}, fmt.Errorf("the page %w: %w", ErrAway, err)
	}
	q := query{timeout: i.Timeout, token: i.Token, tls: i.TLS}
	t, err := q.trace(ctx, base.JoinPath("traces", url.PathEscape(what)).String(), readDocument, problemIn)
	if err != nil {
		return Trace{}, fmt.Errorf("the page at %s %w", base.Redacted(), err)
	}
	return t, nil
}

// readDocument reads a [Tree] as it is written for machines.
func readDocument(body []byte) (Trace, error) {
	var d document
	if err := json.Unmarshal(body, &d); err != nil {
		return Trace{}, fmt.Errorf("%w: %w", errForeignResponse, err)
	}
	if !IsTraceID(d.TraceID) {
		return Trace{}, errForeignResponse
	}
	t := Trace{ID: d.TraceID}
	for _, w := range d.Spans {
		s := w.Span
		s.Duration = time.Duration(min(max(w.DurationMicros, 0), longestMicros)) * time.Microsecond
		s.Start = time.UnixMicro(min(max(s.Start.UnixMicro(), 0), latestMicros)).UTC()
		s.ID, s.Parent, s.Name, s.Batch = clean(s.ID, maxText), clean(s.Parent, maxText), clean(s.Name, maxName), ""
		for _, text := range []*string{&s.Service, &s.Error, &s.HTTPStatus, &s.Topic, &s.Partition, &s.Offset, &s.Attempts, &s.Records} {
			*text = clean(*text, maxText)
		}
		s.Links = s.Links[:min(len(s.Links), maxLinks)]
		for n, l := range s.Links {
			s.Links[n] = Link{clean(l.TraceID, maxText), clean(l.SpanID, maxText)}
		}
		t.Spans = append(t.Spans, s)
	}
	if len(t.Spans) == 0 {
		return Trace{}, ErrUnknownTrace
	}
	return t, nil
}

// problemIn is the detail of a problem document, or "".
func problemIn(body []byte) string {
	var p struct{ Detail string }
	_ = json.Unmarshal(body, &p)
	return clean(p.Detail, maxName)
}

// baseURL reads an address of HTTP.
func baseURL(text string) (*url.URL, error) {
	base, err := url.Parse(text)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, errors.New("its URL is not one such as http://127.0.0.1:16686")
	}
	return base, nil
}

// maxResponse bounds a source's answer: tens of thousands of spans.
const maxResponse = 32 << 20

// errForeignResponse: something answered, and it is not the source.
var errForeignResponse = errors.New("not an answer of its API")

// query asks a source over HTTP.
type query struct {
	timeout time.Duration
	token   string
	tls     *tls.Config
}

// trace reads one trace. read understands an answer, and reason is what one
// that is no trace says, "" where it says nothing.
func (q query) trace(
	ctx context.Context, address string, read func([]byte) (Trace, error), reason func([]byte) string,
) (Trace, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return Trace{}, fmt.Errorf("%w: %w", ErrAway, err)
	}
	request.Header.Set("Accept", "application/json")
	if q.token != "" {
		request.Header.Set("Authorization", "Bearer "+q.token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: q.tls}, Timeout: q.timeout}
	response, err := client.Do(request)
	if err != nil {
		return Trace{}, fmt.Errorf("%w: %s", ErrAway, Reason(err))
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponse+1))
	switch {
	case err != nil:
		return Trace{}, fmt.Errorf("%w to its end: %s", ErrAway, Reason(err))
	case len(body) > maxResponse:
		return Trace{}, fmt.Errorf("%w in less than %d MiB", ErrAway, maxResponse>>20)
	case response.StatusCode == http.StatusNotFound && reason(body) != "":
		return Trace{}, ErrUnknownTrace
	case response.StatusCode != http.StatusOK:
		return Trace{}, fmt.Errorf("%w as it should: %s", ErrAway, strings.TrimSpace(response.Status+" "+reason(body)))
	}
	t, err := read(body)
	if errors.Is(err, errForeignResponse) {
		return Trace{}, fmt.Errorf("%w: %w", ErrAway, err)
	}
	return t, err
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
