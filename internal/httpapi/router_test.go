package httpapi_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

func TestRoutes(t *testing.T) {
	const jsonType = "application/json"
	tests := []struct {
		method, target    string
		contentType, body string
	}{
		{"GET", "/", jsonType, `{"endpoints":["GET /","GET /health","GET /health/ready","GET /metrics","GET /things/{id}","POST /things/{id}"],"service":"clerk","version":"1.2.3"}`},
		{"GET", "/health", jsonType, `{"service":"clerk","status":"ok"}`},
		{"GET", "/health?verbose=1", jsonType, `{"service":"clerk","status":"ok"}`},
		{"GET", "/health/ready", jsonType, `{"service":"clerk","status":"ready"}`},
		{"GET", "/metrics", "text/plain; charset=utf-8", "the page"},
		{"GET", "/things/order-1", jsonType, `{"id":"order-1"}`},
		{"GET", "/things/a%2Fb", jsonType, `{"id":"a/b"}`},
		{"POST", "/things/order-1", jsonType, `{"id":"order-1"}`},
	}
	rt := router(&httpapi.Readiness{}, quiet(), echoID)
	for _, test := range tests {
		w := ask(rt, test.method, test.target)
		if got := w.Body.String(); w.Code != http.StatusOK || got != test.body+"\n" {
			t.Errorf("%s %s: %d %q, want 200 %q", test.method, test.target, w.Code, got, test.body)
		}
		if got := w.Result().Header.Get("Content-Type"); got != test.contentType {
			t.Errorf("%s %s: type %q, want %q", test.method, test.target, got, test.contentType)
		}
	}
}

func TestHeadHasTheStatusAndHeadersOfGet(t *testing.T) {
	server := httptest.NewServer(router(&httpapi.Readiness{}, quiet(), echoID))
	defer server.Close()
	for _, target := range []string{"/", "/health", "/health/ready", "/metrics", "/things/1", "/nowhere"} {
		get, err := server.Client().Get(server.URL + target)
		if err != nil {
			t.Fatal(err)
		}
		head, err := server.Client().Head(server.URL + target)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(get.Body.Close(), head.Body.Close()); err != nil {
			t.Error(err)
		}
		if head.StatusCode != get.StatusCode || head.Header.Get("Content-Type") != get.Header.Get("Content-Type") {
			t.Errorf("HEAD %s: %s %s, GET: %s %s", target, head.Status, head.Header.Get("Content-Type"), get.Status, get.Header.Get("Content-Type"))
		}
	}
	server.CloseClientConnections()
}

func TestUnmatchedRequests(t *testing.T) {
	tests := []struct {
		method, target string
		status         int
		allow          []string
	}{
		{"GET", "/nowhere", 404, nil},
		{"POST", "/nowhere", 404, nil},
		{"GET", "/things", 404, nil},
		{"GET", "/things/", 404, nil},
		{"GET", "/things/1/more", 404, nil},
		{"GET", "/health/", 404, nil},
		{"GET", "//health", 404, nil},
		{"GET", "//nowhere", 404, nil},
		{"GET", "/things/../health", 404, nil},
		{"GET", "/Health", 404, nil},
		{"PURGE", "/nowhere", 404, nil},
		{"POST", "/", 405, []string{"GET", "HEAD"}},
		{"DELETE", "/health", 405, []string{"GET", "HEAD"}},
		{"DELETE", "/things/1", 405, []string{"GET", "HEAD", "POST"}},
		{"OPTIONS", "/metrics", 405, []string{"GET", "HEAD"}},
		{"PURGE", "/health/ready", 405, []string{"GET", "HEAD"}},
	}
	rt := router(&httpapi.Readiness{}, quiet(), echoID)
	for _, test := range tests {
		t.Run(test.method+" "+test.target, func(t *testing.T) {
			w := ask(rt, test.method, test.target)
			document := problem(t, w, test.status)
			allow := w.Result().Header.Get("Allow")
			var methods []string
			if allow != "" {
				methods = strings.Split(allow, ", ")
			}
			slices.Sort(methods)
			if !slices.Equal(methods, test.allow) {
				t.Errorf("Allow %v, want %v", methods, test.allow)
			}
			detail, _ := document["detail"].(string)
			if test.status == 405 && !strings.Contains(detail, allow) || test.status == 404 && !strings.Contains(detail, "GET /") {
				t.Errorf("detail %q does not help", detail)
			}
			if location := w.Result().Header.Get("Location"); location != "" {
				t.Errorf("sends the client to %q", location)
			}
		})
	}
}

func TestForeignPagesMayLookButNotChange(t *testing.T) {
	tests := []struct {
		name, method string
		headers      []string
		status       int
	}{
		{"cross-site", "POST", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"same-site", "POST", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"an old browser", "POST", []string{"Origin", "https://elsewhere.example"}, 403},
		{"same origin", "POST", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"an old browser, same origin", "POST", []string{"Origin", "http://example.com"}, 200},
		{"typed by the user", "POST", []string{"Sec-Fetch-Site", "none"}, 200},
		{"no browser", "POST", nil, 200},
		{"looking", "GET", []string{"Sec-Fetch-Site", "cross-site"}, 200},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			handled := false
			rt := router(&httpapi.Readiness{}, quiet(), func(w http.ResponseWriter, r *http.Request) { handled = true; echoID(w, r) })
			w := ask(rt, test.method, "/things/1", test.headers...)
			if test.status == 403 {
				problem(t, w, 403)
			}
			if w.Code != test.status || handled != (test.status == 200) {
				t.Errorf("status %d, handled %v; want %d", w.Code, handled, test.status)
			}
		})
	}
}

func TestRouteIsThePatternWithoutItsMethod(t *testing.T) {
	for pattern, want := range map[string]string{
		"GET /{$}": "/", "GET /orders/{id}/status": "/orders/{id}/status", "POST /orders": "/orders", "/health": "/health", "": "",
	} {
		if got := httpapi.Route(&http.Request{Pattern: pattern}); got != want {
			t.Errorf("route of %q is %q, want %q", pattern, got, want)
		}
	}
	rt := router(&httpapi.Readiness{}, quiet(), echoID)
	for target, want := range map[string]string{"/": "/", "/things/42": "/things/{id}", "/nowhere/42": "", "//things/42": ""} {
		r := httptest.NewRequest(http.MethodGet, target, nil)
		rt.ServeHTTP(httptest.NewRecorder(), r)
		if got := httpapi.Route(r); got != want {
			t.Errorf("route of a request for %s is %q, want %q", target, got, want)
		}
	}
}

func TestAPanicIsAnsweredAndLogged(t *testing.T) {
	var text strings.Builder
	log := slog.New(slog.NewTextHandler(&text, nil))
	rt := router(&httpapi.Readiness{}, log, func(http.ResponseWriter, *http.Request) { panic("the secret fault") })
	document := problem(t, ask(rt, "GET", "/things/1"), http.StatusInternalServerError)
	if strings.Contains(document["detail"].(string), "secret") {
		t.Errorf("the client is told %q", document["detail"])
	}
	for _, want := range []string{"level=ERROR", "the secret fault", "route=/things/{id}", "router_test.go"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the log lacks %q: %s", want, text.String())
		}
	}
	if lines := strings.Count(text.String(), "\n"); lines != 1 {
		t.Errorf("%d lines are logged, want 1", lines)
	}
}

func TestAnAbortPassesOn(t *testing.T) {
	rt := router(&httpapi.Readiness{}, quiet(), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	defer func() {
		if fault := recover(); fault != http.ErrAbortHandler {
			t.Errorf("recovered %v, want http.ErrAbortHandler", fault)
		}
	}()
	ask(rt, "GET", "/things/1")
	t.Error("the abort was swallowed")
}
