package httpapi

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
)

// RequestID is the header that names a request, in both directions.
const RequestID = "X-Request-Id"

// maxRequestID is the length, in bytes, up to which a client's name for its
// request is kept.
const maxRequestID = 64

type requestIDKey struct{}

// Identify gives every request an id: the client's, where it sent one of 1 to
// 64 characters out of A-Z a-z 0-9 . _ -, else one of 26 characters that nobody
// can guess. The answer has it in the header [RequestID], problem documents as
// requestId, and log lines through [LogRequestIDs].
//
// It stands outside the telemetry's middleware, since it hands on a copy of the
// request, and what is inside reads the pattern from the very request that the
// router matched.
func Identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(RequestID)
		if !isRequestID(id) {
			id = rand.Text()
		}
		w.Header().Set(RequestID, id)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id)))
	})
}

func isRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// LogRequestIDs adds request_id to the records of requests that [Identify]
// named.
func LogRequestIDs(log *slog.Logger) *slog.Logger { return slog.New(idHandler{log.Handler()}) }

type idHandler struct{ slog.Handler }

func (h idHandler) Handle(ctx context.Context, record slog.Record) error {
	if id, ok := ctx.Value(requestIDKey{}).(string); ok {
		record = record.Clone()
		record.AddAttrs(slog.String("request_id", id))
	}
	return h.Handler.Handle(ctx, record)
}

func (h idHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return idHandler{h.Handler.WithAttrs(attrs)}
}
func (h idHandler) WithGroup(name string) slog.Handler { return idHandler{h.Handler.WithGroup(name)} }
