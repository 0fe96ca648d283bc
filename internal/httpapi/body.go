package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

const (
	defaultMaxBody     = 64 << 10
	defaultBodyTimeout = 10 * time.Second
	smallBody          = 4 << 10
)

// takesBody says whether requests with a method bring something to read.
func takesBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
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
	body, err := readAll(r.Body, r.ContentLength, maxBytes)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		refuseBody(w, Problem{
			Status: http.StatusRequestTimeout, Detail: fmt.Sprintf("The body did not arrive within %v.", timeout),
		})
		return false
	case err != nil:
		refuseBody(w, Problem{Status: http.StatusBadRequest, Detail: "The body could not be read."})
		return false
	case int64(len(body)) > maxBytes:
		refuseBody(w, tooLarge(maxBytes))
		return false
	}
	held := &heldBody{text: body}
	held.Reset(body)
	r.Body = held
	return true
}

// readAll reads a body, or one byte more than the most that is taken of it. A
// length that is known and small saves making room again and again; for a large
// one room is made as it arrives.
func readAll(body io.Reader, length, most int64) ([]byte, error) {
	if length < 0 || length > smallBody {
		return io.ReadAll(io.LimitReader(body, most+1))
	}
	text := make([]byte, length)
	_, err := io.ReadFull(body, text)
	return text, err
}

// heldBody is a body that has been read.
type heldBody struct {
	bytes.Reader
	text []byte
}

// Close implements [io.Closer].
func (*heldBody) Close() error { return nil }

// Body returns the whole body of a request, which is not to be changed. Behind
// a [Router] it is in memory, and this costs nothing; elsewhere it is read.
func Body(r *http.Request) ([]byte, error) {
	if held, ok := r.Body.(*heldBody); ok {
		return held.text, nil
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

func tooLarge(maxBytes int64) Problem {
	return Problem{
		Status: http.StatusRequestEntityTooLarge,
		Detail: fmt.Sprintf("The body is too large; at most %d bytes are accepted.", maxBytes),
	}
}

// refuseBody also gives the connection up: the rest of the body would stand in
// the next request's way.
func refuseBody(w http.ResponseWriter, p Problem) {
	w.Header().Set("Connection", "close")
	WriteProblem(w, p)
}
