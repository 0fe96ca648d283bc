package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// typeBase begins the type URI of every problem. What follows it is the anchor
// of the problem's section in docs/http.md.
const typeBase = "https://github.com/vigie-dev/vigie/blob/main/docs/http.md#problem-"

// ProblemType says which kind of problem a response reports. Clients
// distinguish problems by it, never by their texts. In JSON it is the type URI of RFC
// 9457.
type ProblemType string

// Every kind of problem that a service answers with.
const (
	InvalidRequest  ProblemType = "invalid-request"
	Unauthorized    ProblemType = "unauthorized"
	ForeignPage     ProblemType = "foreign-page"
	UnknownResource ProblemType = "unknown-resource"
	UnknownOrder    ProblemType = "unknown-order"
	WrongMethod     ProblemType = "wrong-method"
	SlowBody        ProblemType = "slow-body"
	KeyInUse        ProblemType = "key-in-use"
	LargeBody       ProblemType = "large-body"
	LargeOrder      ProblemType = "large-order"
	EncodedBody     ProblemType = "encoded-body"
	KeyReused       ProblemType = "key-reused"
	Fault           ProblemType = "fault"
	Busy            ProblemType = "busy"
	AnswerDropped   ProblemType = "answer-dropped"
	NotReady        ProblemType = "not-ready"
	StorageAway     ProblemType = "storage-away"
	UnknownOutcome  ProblemType = "unknown-outcome"
)

// Effect says whether what a client asked for was done, although it got a
// problem for an answer.
type Effect string

// The effects. After NotDone the same request may simply be sent again.
const (
	NotDone   Effect = "no"
	MaybeDone Effect = "maybe"
	Done      Effect = "yes"
)

// ProblemFacts is what all problems of a type have in common.
type ProblemFacts struct {
	Type   ProblemType
	Status int
	Title  string
	Effect Effect
}

// Problems is the one table of the problems. docs/http.md has a section for
// each, and common.yaml names each.
func Problems() []ProblemFacts {
	return []ProblemFacts{
		{InvalidRequest, http.StatusBadRequest, "The request is not valid", NotDone},
		{Unauthorized, http.StatusUnauthorized, "A token is needed", NotDone},
		{ForeignPage, http.StatusForbidden, "Pages of other origins may change nothing", NotDone},
		{UnknownResource, http.StatusNotFound, "There is no such resource", NotDone},
		{UnknownOrder, http.StatusNotFound, "No such order is known", NotDone},
		{WrongMethod, http.StatusMethodNotAllowed, "The resource does not have this method", NotDone},
		{SlowBody, http.StatusRequestTimeout, "The body did not arrive in time", NotDone},
		{KeyInUse, http.StatusConflict, "A request with this key is under way", NotDone},
		{LargeBody, http.StatusRequestEntityTooLarge, "The body is too large", NotDone},
		{LargeOrder, http.StatusRequestEntityTooLarge, "The order is larger than its topic takes", NotDone},
		{EncodedBody, http.StatusUnsupportedMediaType, "The body is encoded", NotDone},
		{KeyReused, http.StatusUnprocessableEntity, "The key was used for another order", NotDone},
		{Fault, http.StatusInternalServerError, "The service failed", MaybeDone},
		{Busy, http.StatusServiceUnavailable, "The service is busy", NotDone},
		{AnswerDropped, http.StatusServiceUnavailable, "The answer was dropped", Done},
		{NotReady, http.StatusServiceUnavailable, "The service is not ready", NotDone},
		{StorageAway, http.StatusServiceUnavailable, "The storage does not answer", NotDone},
		{UnknownOutcome, http.StatusServiceUnavailable, "The order may or may not have been taken", MaybeDone},
	}
}

// Facts looks the type up in the table. A type that is not in it is a [Fault].
func (t ProblemType) Facts() ProblemFacts {
	fault := ProblemFacts{}
	for _, facts := range Problems() {
		if facts.Type == t {
			return facts
		}
		if facts.Type == Fault {
			fault = facts
		}
	}
	return fault
}

// URI is the type as RFC 9457 has it: the address of its documentation.
func (t ProblemType) URI() string { return typeBase + string(t) }

// MarshalText implements [encoding.TextMarshaler] with the type's URI.
func (t ProblemType) MarshalText() ([]byte, error) { return []byte(t.URI()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It keeps a type of
// somebody else's as it is.
func (t *ProblemType) UnmarshalText(text []byte) error {
	*t = ProblemType(strings.TrimPrefix(string(text), typeBase))
	return nil
}

// Problem is an error as clients see it: problem details of RFC 9457.
type Problem struct {
	Type ProblemType `json:"type"`
	// Title and Status are the type's: [WriteProblem] sets them.
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail says in one sentence what was wrong and what is accepted. It
	// never repeats what the client sent, but for the name of a parameter.
	Detail string `json:"detail,omitempty"`
	// Field, Problem and Accepted are extension members for validation: the
	// member that was refused, what was wrong with it and what is accepted.
	Field    string `json:"field,omitempty"`
	Problem  string `json:"problem,omitempty"`
	Accepted string `json:"accepted,omitempty"`
	// RequestID is the request's id. It is set for everyone whom [Identify]
	// stands in front of.
	RequestID string `json:"requestId,omitempty"`
	// TraceID names the trace to look into, for faults of the service's own.
	TraceID string `json:"traceId,omitempty"`
	// RetryAfter, where positive, goes into the header of that name (whole
	// seconds, rounded up).
	RetryAfter time.Duration `json:"-"`
}

// WriteProblem answers with a problem, under the status of its type.
func WriteProblem(w http.ResponseWriter, p Problem) {
	h := w.Header()
	facts := p.Type.Facts()
	p.Type, p.Title, p.Status, p.RequestID = facts.Type, facts.Title, facts.Status, h.Get(RequestID)
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Del("Content-Length")
	if p.RetryAfter > 0 {
		seconds := int64((p.RetryAfter + time.Second - 1) / time.Second)
		h.Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone if this fails
}

// WriteJSON answers with a JSON document.
func WriteJSON(w http.ResponseWriter, status int, document any) {
	body, err := json.Marshal(document)
	if err != nil {
		WriteProblem(w, Problem{Type: Fault, Detail: "The answer could not be encoded."})
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	setOnce(h, "Cache-Control", "no-store")
	setOnce(h, "X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client is gone if this fails
}

// setOnce sets a header, unless it says so already, as behind a [Router] it does.
func setOnce(h http.Header, name, value string) {
	if h.Get(name) != value {
		h.Set(name, value)
	}
}
