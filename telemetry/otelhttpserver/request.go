package otelhttpserver

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/felixge/httpsnoop"
)

// IsProbe reports whether a request is a monitor's: GET or HEAD of /metrics, of /health and what lies below it, or of
// /healthz, /livez and /readyz. It is the default of [WithoutTraces].
func IsProbe(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	switch r.URL.Path {
	case "/metrics", "/health", "/healthz", "/livez", "/readyz":
		return true
	default:
		return strings.HasPrefix(r.URL.Path, "/health/")
	}
}

// RouteUnmatched is the label route of requests that no registered pattern matched.
const RouteUnmatched = "unmatched"

// RoutePattern returns the pattern that [http.ServeMux] matched, without its method and host: "/orders/{id}" for
// "GET /orders/{id}". It returns "" if nothing matched.
func RoutePattern(r *http.Request) string {
	_, pattern, found := strings.Cut(r.Pattern, " ")
	if !found {
		pattern = r.Pattern
	}
	slash := strings.IndexByte(pattern, '/')
	if slash < 0 {
		return ""
	}
	return strings.TrimSpace(pattern[slash:])
}

// knownMethod returns the method if it is one of RFC 9110 section 9.3 or RFC 5789, else other. Methods are case
// sensitive.
func knownMethod(method, other string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	case "":
		return http.MethodGet
	default:
		return other
	}
}

// statusRecorder learns the status that a handler answers with.
type statusRecorder struct{ code int }

// recordStatus returns a writer with the same optional interfaces (Flusher, Hijacker, ReaderFrom, …) as w, and what
// learns the status.
func recordStatus(w http.ResponseWriter) (http.ResponseWriter, *statusRecorder) {
	if c, ok := w.(connection); ok {
		if _, pushes := w.(http.Pusher); !pushes {
			r := &recordedConnection{connection: c}
			return r, &r.status
		}
	}
	s := &statusRecorder{}
	return s.wrap(w), s
}

// connection is all that net/http's answers of HTTP/1 can do. There are none with less on a server of ours, and one type for
// them costs an allocation, where the hooks below cost nineteen.
type connection interface {
	http.ResponseWriter
	http.Flusher
	http.Hijacker
	io.ReaderFrom
	io.StringWriter
	CloseNotify() <-chan bool
	FlushError() error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	EnableFullDuplex() error
}

// recordedConnection is a connection whose status is recorded.
type recordedConnection struct {
	connection
	status statusRecorder
}

func (r *recordedConnection) WriteHeader(code int) {
	r.status.set(code)
	r.connection.WriteHeader(code)
}

func (r *recordedConnection) Write(b []byte) (int, error) {
	r.status.set(http.StatusOK)
	return r.connection.Write(b)
}

func (r *recordedConnection) WriteString(text string) (int, error) {
	r.status.set(http.StatusOK)
	return r.connection.WriteString(text)
}

func (r *recordedConnection) ReadFrom(src io.Reader) (int64, error) {
	r.status.set(http.StatusOK)
	return r.connection.ReadFrom(src)
}

func (r *recordedConnection) Flush() {
	r.status.set(http.StatusOK)
	r.connection.Flush()
}

func (r *recordedConnection) FlushError() error {
	r.status.set(http.StatusOK)
	return r.connection.FlushError()
}

// Unwrap leads [http.ResponseController] on, and whoever looks for a writer of their own.
func (r *recordedConnection) Unwrap() http.ResponseWriter { return r.connection }

// wrap returns w with the same optional interfaces (Flusher, Hijacker, ReaderFrom, …) as before.
func (s *statusRecorder) wrap(w http.ResponseWriter) http.ResponseWriter {
	return httpsnoop.Wrap(w, httpsnoop.Hooks{
		WriteHeader: func(next httpsnoop.WriteHeaderFunc) httpsnoop.WriteHeaderFunc {
			return func(code int) { s.set(code); next(code) }
		},
		Write: func(next httpsnoop.WriteFunc) httpsnoop.WriteFunc {
			return func(b []byte) (int, error) { s.set(http.StatusOK); return next(b) }
		},
		WriteString: func(next httpsnoop.WriteStringFunc) httpsnoop.WriteStringFunc {
			return func(text string) (int, error) { s.set(http.StatusOK); return next(text) }
		},
		ReadFrom: func(next httpsnoop.ReadFromFunc) httpsnoop.ReadFromFunc {
			return func(src io.Reader) (int64, error) { s.set(http.StatusOK); return next(src) }
		},
		Flush: func(next httpsnoop.FlushFunc) httpsnoop.FlushFunc {
			return func() { s.set(http.StatusOK); next() }
		},
		FlushError: func(next httpsnoop.FlushErrorFunc) httpsnoop.FlushErrorFunc {
			return func() error { s.set(http.StatusOK); return next() }
		},
	})
}

// set keeps the first final status. 1xx are interim answers, but for 101, after which the connection is no
// longer HTTP (RFC 9110 section 15.2).
func (s *statusRecorder) set(code int) {
	interim := code >= 100 && code < 200 && code != http.StatusSwitchingProtocols
	if s.code == 0 && !interim {
		s.code = code
	}
}

// status returns the status, which is 200 if the handler wrote nothing.
func (s *statusRecorder) status() int {
	if s.code == 0 {
		return http.StatusOK
	}
	return s.code
}
