package httpapi

import (
	"bytes"
	"net/http"
	"strconv"
)

// answer holds an answer back until its handler has returned. So a panic can
// still become a problem document, and a slow reader holds up the sending and
// not the handler.
type answer struct {
	w      http.ResponseWriter
	status int
	body   bytes.Buffer
	lane   *lane // whose budget counts it; nil for what is always small
}

// Header, WriteHeader and Write implement [http.ResponseWriter].
func (a *answer) Header() http.Header { return a.w.Header() }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// Unwrap leads [http.ResponseController] to the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.w }

// restart drops what has been written.
func (a *answer) restart() {
	a.status = 0
	a.body.Reset()
}

// send gives the answer to the client.
func (a *answer) send() {
	if a.lane != nil {
		held, ok := a.lane.hold(int64(a.body.Len()))
		if ok {
			defer a.lane.sending.Release(held)
		} else {
			a.restart()
			WriteProblem(a, Problem{
				Status: http.StatusServiceUnavailable, RetryAfter: retrySoon,
				Detail: "Too many answers wait for clients to read them; this one was dropped.",
			})
		}
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if h := a.Header(); a.body.Len() > 0 {
		h.Set("Content-Length", strconv.Itoa(a.body.Len()))
		if h.Get("Content-Type") == "" {
			h.Set("Content-Type", http.DetectContentType(a.body.Bytes()))
		}
	}
	a.w.WriteHeader(a.status)
	_, _ = a.body.WriteTo(a.w) // the client is gone if this fails
}
