package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

func TestWhoWantsAPage(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "application/json": false, "text/html": true,
		"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8": true,
		"application/json, text/html;q=0.5":                                                     false, "text/html;q=0.9, application/json;q=0.2": true, "text/html;q=0": false,
		"application/json, text/html": false, "text/html;q=x": true, ";;,text/html": true,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept", accept)
		if got := httpapi.WantsPage(r); got != want {
			t.Errorf("%q: %v, want %v", accept, got, want)
		}
	}
}

func asBrowser(t *testing.T, rt *httpapi.Router, path string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Accept", "text/html")
	w := httptest.NewRecorder()
	rt.ServeHTTP(w, r)
	return w
}

// A browser gets links to what can be read with a click.
func TestABrowserGetsLinks(t *testing.T) {
	rt := httpapi.NewRouter(httpapi.Config{Service: "clerk", Version: "1 & 2", Metrics: http.NotFoundHandler(), Ready: &httpapi.Readiness{}, OpenAPI: []byte("openapi: 3.1.0")})
	rt.Handle("GET /things/{id}", func(http.ResponseWriter, *http.Request) {})
	rt.Handle("POST /things", func(http.ResponseWriter, *http.Request) {})
	w := asBrowser(t, rt, "/")
	text := w.Body.String()
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/html; charset=utf-8" || w.Header().Get("Vary") != "Accept" {
		t.Errorf("%d, %v", w.Code, w.Header())
	}
	for _, want := range []string{`<a href="/health/ready">`, `<a href="/openapi.yaml">`, `GET /things/{id}`, `POST /things`, "1 &amp; 2", `href="/favicon.ico"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, `href="/things`) {
		t.Errorf("a click cannot ask for that:\n%s", text)
	}
	if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "style-src 'sha256-") || strings.Contains(policy, "script-src") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %s", policy)
	}
}

// A service's own page stands in place of the links, behind the tokens; programs
// get the endpoints as before, and the icon is there for everybody.
func TestAPageOfItsOwn(t *testing.T) {
	known, _ := tokens(t, tokenA)
	rt := httpapi.NewRouter(httpapi.Config{Service: "clerk", Metrics: http.NotFoundHandler(), Ready: &httpapi.Readiness{}, Tokens: known})
	rt.HandlePage(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("mine")) })
	if w := asBrowser(t, rt, "/"); w.Code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", w.Code)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Authorization", "Bearer "+tokenA)
	w := httptest.NewRecorder()
	if rt.ServeHTTP(w, r); w.Body.String() != "mine" {
		t.Errorf("with a token: %d %s", w.Code, w.Body)
	}
	r = httptest.NewRequest(http.MethodGet, "/", nil)
	w = httptest.NewRecorder()
	if rt.ServeHTTP(w, r); !strings.Contains(w.Body.String(), `"endpoints"`) {
		t.Errorf("a program: %d %s", w.Code, w.Body)
	}
	if w := asBrowser(t, rt, "/favicon.ico"); w.Code != http.StatusOK || w.Header().Get("Content-Type") != "image/svg+xml" {
		t.Errorf("the icon: %d %v", w.Code, w.Header())
	}
}
