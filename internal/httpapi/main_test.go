package httpapi_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

func TestMain(m *testing.M) {
	// net/http keeps a connection that it refused for half a second more, and
	// waits for it in no shutdown.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// router is a service's router with one route of its own, GET|POST /things/{id}.
func router(ready *httpapi.Readiness, log *slog.Logger, own http.HandlerFunc) *httpapi.Router {
	rt := httpapi.NewRouter(httpapi.Config{
		Service: "clerk", Version: "1.2.3", Ready: ready, Log: log,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the page\n") }),
	})
	rt.Handle("GET /things/{id}", own)
	rt.Handle("POST /things/{id}", own)
	return rt
}

func echoID(w http.ResponseWriter, r *http.Request) {
	httpapi.WriteJSON(w, http.StatusOK, map[string]string{"id": r.PathValue("id")})
}

func ask(h http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// problem checks that an answer is a problem document of that status.
func problem(t *testing.T, w *httptest.ResponseRecorder, status int) map[string]any {
	t.Helper()
	if w.Code != status {
		t.Errorf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/problem+json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
	} {
		if got := w.Result().Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	var document map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil {
		t.Fatalf("%q: %v", w.Body, err)
	}
	if document["status"] != float64(status) || document["title"] != http.StatusText(status) {
		t.Errorf("document %v, want status %d and its title", document, status)
	}
	return document
}
