package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// retrySoon is when to come again to a service that is busy.
	retrySoon = time.Second
	// smallResponse is what a connection's own buffers take, in bytes: sending
	// that much waits for nobody.
	smallResponse = 16 << 10
	// smallBody is the largest body, in bytes, for which memory is allocated
	// before it arrives.
	smallBody = 4 << 10
	// sendingOwn and sendingMetrics bound, in bytes, the larger answers that
	// wait for slow readers.
	sendingOwn     = 32 << 20
	sendingMetrics = 16 << 20
	// maxScrapes bounds the requests for the metrics page at work at once.
	maxScrapes = 16
)

// lane bounds what requests of one kind may use: how many are at work, and
// how much of their responses waits to be read. A request has a slot while its
// handler works, and neither while the body arrives nor while the response is
// sent, which clients can make last as long as they like.
type lane struct {
	slots   chan struct{}
	sending *semaphore.Weighted
	budget  int64
}

func newLane(slots int, budget int64) *lane {
	return &lane{slots: make(chan struct{}, slots), sending: semaphore.NewWeighted(budget), budget: budget}
}

// bounded has a handler work only inside the lane.
func (l *lane) bounded(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if a, ok := w.(*responseBuffer); ok {
			a.lane = l
		}
		select {
		case l.slots <- struct{}{}:
		default:
			writeBusy(w)
			return
		}
		defer func() { <-l.slots }()
		handler(w, r)
	}
}

// boundedWithBody is bounded for requests that bring a body, which is to be as it
// was written, and is read before a slot is taken.
func (l *lane) boundedWithBody(handler http.HandlerFunc, maxBytes int64, timeout time.Duration) http.HandlerFunc {
	handler = l.bounded(handler)
	return plainBody(func(w http.ResponseWriter, r *http.Request) {
		if len(l.slots) == cap(l.slots) { // nothing of the body need be kept; net/http reads what is left of it, for at most the ReadTimeout
			writeBusy(w)
			return
		}
		if readBody(w, r, maxBytes, timeout) {
			handler(w, r)
		}
	})
}

// plainBody has only requests to the handler whose body is as it was written:
// one that is compressed would be read as something else.
func plainBody(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, list := range r.Header.Values("Content-Encoding") {
			for coding := range strings.SplitSeq(list, ",") {
				if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
					w.Header().Set("Accept-Encoding", "identity") // RFC 9110 section 15.5.16
					WriteProblem(w, Problem{Type: EncodedBody, Detail: "The body is encoded; only bodies without a Content-Encoding are accepted."})
					return
				}
			}
		}
		handler(w, r)
	}
}

func writeBusy(w http.ResponseWriter) {
	WriteProblem(w, Problem{
		Type: Busy, RetryAfter: retrySoon,
		Detail: "The service has as many requests at work as it takes; nothing was done about this one.",
	})
}

// readBody has the whole body in memory before the handler starts: at most max
// bytes, within the time-out. It answers a body that is not to be had and
// returns false. Memory is bounded by the connections, each of which brings one
// body at a time.
func readBody(w http.ResponseWriter, r *http.Request, maxBytes int64, timeout time.Duration) bool {
	if r.Body == nil || r.Body == http.NoBody {
		return true
	}
	if r.ContentLength > maxBytes {
		refuseBody(w, tooLarge(maxBytes))
		return false
	}
	// The server lifts the deadline when the body has come to its end. Tests
	// without a connection have none.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(timeout))
	stored := &storedBody{}
	if a, ok := w.(*responseBuffer); ok {
		stored = &a.request
	}
	body, err := readAll(r.Body, r.ContentLength, maxBytes, stored.text)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		refuseBody(w, Problem{Type: SlowBody, Detail: fmt.Sprintf("The body did not arrive within %v.", timeout)})
		return false
	case err != nil:
		refuseBody(w, Problem{Type: InvalidRequest, Detail: "The body could not be read."})
		return false
	case int64(len(body)) > maxBytes:
		refuseBody(w, tooLarge(maxBytes))
		return false
	}
	stored.text = body
	stored.Reset(body)
	r.Body = stored
	return true
}

func tooLarge(maxBytes int64) Problem {
	return Problem{Type: LargeBody, Detail: fmt.Sprintf("The body is too large; at most %d bytes are accepted.", maxBytes)}
}

// readAll reads a body, or one byte more than the most that is taken of it, into
// memory that there is where it suffices. A length that is known and small saves
// growing the buffer again and again; for a large one the buffer grows as the body
// arrives.
func readAll(body io.Reader, length, most int64, memory []byte) ([]byte, error) {
	if length < 0 || length > smallBody {
		return io.ReadAll(io.LimitReader(body, most+1))
	}
	text := slices.Grow(memory[:0], int(length))[:length]
	_, err := io.ReadFull(body, text)
	return text, err
}

// refuseBody also gives the connection up: the rest of the body would stand in
// the next request's way.
func refuseBody(w http.ResponseWriter, p Problem) {
	w.Header().Set("Connection", "close")
	WriteProblem(w, p)
}

// storedBody is a body that has been read. Its memory is another request's once
// the handler has returned.
type storedBody struct {
	bytes.Reader
	text []byte
}

// Close implements [io.Closer].
func (*storedBody) Close() error { return nil }

// Body returns the whole body of a request, which is not to be changed, nor used
// once the handler has returned. Behind a [Router] it is in memory, and this costs
// nothing; elsewhere it is read.
func Body(r *http.Request) ([]byte, error) {
	if stored, ok := r.Body.(*storedBody); ok {
		return stored.text, nil
	}
	if r.Body == nil {
		return nil, nil
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	return text, nil
}

// responseBuffer keeps a response back until its handler has returned. So a
// panic can still become a problem document, and a slow reader delays the
// sending and not the handler. It is used again for later requests, with the
// memory of the body that the request brought.
type responseBuffer struct {
	w       http.ResponseWriter
	status  int
	body    bytes.Buffer
	lane    *lane // whose budget counts it; nil for what is always small
	request storedBody
}

// reset makes a buffer ready for another request, and returns false where it is
// not worth keeping.
func (a *responseBuffer) reset() bool {
	a.w, a.lane = nil, nil
	a.restart()
	a.request.Reset(nil)
	return a.body.Cap() <= smallResponse && cap(a.request.text) <= smallBody
}

// Header, WriteHeader and Write implement [http.ResponseWriter].
func (a *responseBuffer) Header() http.Header { return a.w.Header() }

func (a *responseBuffer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *responseBuffer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// Unwrap leads [http.ResponseController] to the connection.
func (a *responseBuffer) Unwrap() http.ResponseWriter { return a.w }

// restart drops what has been written.
func (a *responseBuffer) restart() {
	a.status = 0
	a.body.Reset()
}

// send gives the answer to the client. A large one is dropped where too many
// wait to be read already.
func (a *responseBuffer) send() {
	if size := int64(a.body.Len()); a.lane != nil && size > smallResponse {
		share := min(size, a.lane.budget)
		if a.lane.sending.TryAcquire(share) {
			defer a.lane.sending.Release(share)
		} else {
			a.restart()
			WriteProblem(a, Problem{
				Type: AnswerDropped, RetryAfter: retrySoon,
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
