package httpapi

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// knownParameters has only requests to the handler whose query has none but the
// parameters named, each once; those whose names end in [] may come several
// times. A filter that is misspelt would otherwise show everything.
func knownParameters(known []string, handler http.HandlerFunc) http.HandlerFunc {
	known = slices.Sorted(slices.Values(known))
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "" {
			handler(w, r)
			return
		}
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			WriteProblem(w, Problem{Type: InvalidRequest, Field: "query", Problem: "is malformed", Detail: "The query is malformed."})
			return
		}
		for name, values := range query {
			switch {
			case !slices.Contains(known, name):
				refuseParameter(w, name, "is not known here", known)
				return
			case len(values) > 1 && !strings.HasSuffix(name, "[]"):
				refuseParameter(w, name, "is given more than once", known)
				return
			}
		}
		handler(w, r)
	}
}

// refuseParameter names the parameter where its name looks like one.
func refuseParameter(w http.ResponseWriter, name, problem string, known []string) {
	accepted := "no parameters"
	if len(known) > 0 {
		accepted = strings.Join(known, ", ") + ", each at most once"
	}
	p := Problem{Type: InvalidRequest, Field: "query", Problem: problem, Accepted: accepted}
	p.Detail = "A query parameter " + problem + "; accepted: " + accepted + "."
	if isRequestID(strings.TrimSuffix(name, "[]")) {
		p.Field, p.Detail = name, "The query parameter "+name+" "+problem+"; accepted: "+accepted+"."
	}
	WriteProblem(w, p)
}

// RequestID is the header that names a request, in both directions.
const RequestID = "X-Request-Id"

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
		v, ours := r.Context().(*visit)
		if !ours {
			v = &visit{Context: r.Context()}
			r = r.WithContext(v)
		}
		v.id = id
		next.ServeHTTP(w, r)
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
	if v := visitOf(ctx); v != nil && v.id != "" {
		record = record.Clone()
		record.AddAttrs(slog.String("request_id", v.id))
	}
	return h.Handler.Handle(ctx, record)
}

func (h idHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return idHandler{h.Handler.WithAttrs(attrs)}
}
func (h idHandler) WithGroup(name string) slog.Handler { return idHandler{h.Handler.WithGroup(name)} }
