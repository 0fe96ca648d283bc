package traces

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// Whatever answers, or nothing: either the trace, or one of two errors.
func TestJaegerIsAsked(t *testing.T) {
	known, err := os.ReadFile("testdata/authorized.json")
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]http.HandlerFunc{
		"knows": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(known) },
		"does not know": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"data":null,"total":0,"limit":0,"offset":0,"errors":[{"code":404,"msg":"trace not found"}]}`)
		},
		"has nothing":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"data":[],"errors":null}`) },
		"is another":   func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `<!doctype html>`) },
		"has no route": http.NotFound,
		"is ill": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, "{\"errors\":[{\"code\":500,\"msg\":\"storage\\u001b is away\"}]}")
		},
		"never ends": func(w http.ResponseWriter, _ *http.Request) {
			for range maxAnswer>>20 + 1 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		},
		"hangs up": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"data":`)
		},
	}
	for name, want := range map[string]struct {
		err  error
		text string
	}{
		"knows":         {},
		"does not know": {ErrUnknownTrace, "does not know the trace"},
		"has nothing":   {ErrUnknownTrace, "does not know the trace"},
		"is another":    {ErrNoJaeger, "not an answer of Jaeger's query API"},
		"has no route":  {ErrNoJaeger, "404 Not Found"},
		"is ill":        {ErrNoJaeger, "500 Internal Server Error storage� is away"},
		"never ends":    {ErrNoJaeger, "in less than 32 MiB"},
		"hangs up":      {ErrNoJaeger, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/base/api/traces/"+testTrace {
					t.Errorf("asked for %s", r.URL)
				}
				answers[name](w, r)
			}))
			defer server.Close()
			trace, err := Jaeger{URL: server.URL + "/base/"}.Trace(t.Context(), testTrace)
			if !errors.Is(err, want.err) || (err != nil && !strings.Contains(err.Error(), want.text)) {
				t.Errorf("error %v, want %v with %q", err, want.err, want.text)
			}
			if (err == nil) != (len(trace.Spans) == 6) {
				t.Errorf("%d spans and error %v", len(trace.Spans), err)
			}
		})
	}
}

func TestNoJaegerAnswers(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for url, want := range map[string]string{
		gone.URL: "Jaeger at " + gone.URL + " does not answer: connection refused",
		strings.Replace(gone.URL, "http://", "http://user:secret@", 1): "http://user:xxxxx@",
		"127.0.0.1:16686": "does not answer: its URL is not one such as",
		"ftp://jaeger":    "does not answer: its URL is not one such as",
		"":                "does not answer: its URL is not one such as",
	} {
		if _, err := (Jaeger{URL: url}).Trace(t.Context(), testTrace); !errors.Is(err, ErrNoJaeger) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

// A question ends with its context, whatever the server does.
func TestASilentJaegerIsLeft(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	if _, err := (Jaeger{URL: server.URL}).Trace(ctx, testTrace); !errors.Is(err, ErrNoJaeger) {
		t.Errorf("error %v", err)
	}
}
