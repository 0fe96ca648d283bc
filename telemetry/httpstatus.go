package telemetry

import (
	"io"
	"net/http"

	"github.com/felixge/httpsnoop"
)

// statusRecorder learns the status that a handler answers with.
type statusRecorder struct{ code int }

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
