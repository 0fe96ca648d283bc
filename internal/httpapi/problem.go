package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Problem is an error as clients see it: problem details of RFC 9457 with the
// type about:blank, so that the title is the status's own phrase.
type Problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	// Detail says in one sentence what was wrong and what is accepted. It
	// never repeats what the client sent.
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

// WriteProblem answers with a problem.
func WriteProblem(w http.ResponseWriter, p Problem) {
	h := w.Header()
	p.Title, p.RequestID = http.StatusText(p.Status), h.Get(RequestID)
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
		WriteProblem(w, Problem{Status: http.StatusInternalServerError, Detail: "The answer could not be encoded."})
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client is gone if this fails
}
