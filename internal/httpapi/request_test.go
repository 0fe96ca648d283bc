package httpapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// A target without a path is refused, and never redirected; the absolute form
// has one.
func TestTargetsWithoutAPathAreRefused(t *testing.T) {
	recorder := telemetrytest.New(t, "clerk", nil)
	h := open(t, telemetry.HTTPMiddleware(recorder.Telemetry, httpapi.Route)(own(httpapi.Config{}, echoID)), httpapi.ServerConfig{})
	requests := 0
	for line, want := range map[string]int{
		"GET * HTTP/1.1": 400, "POST * HTTP/1.1": 400, "PRI * HTTP/1.1": 400, "OPTIONS * HTTP/1.1": 400, "CONNECT clerk:80 HTTP/1.1": 400,
		"GET clerk:80 HTTP/1.1": 400, "GET http://clerk HTTP/1.1": 400, "GET http://clerk/health HTTP/1.1": 200, "GET /health HTTP/1.1": 200,
		"OPTIONS /health HTTP/1.1": 405,
	} {
		c := h.connect(t)
		c.send(t, line+"\r\nHost: clerk\r\n\r\n")
		requests++
		if r := c.answer(t); r.status != want || want == http.StatusBadRequest && !r.is(httpapi.InvalidRequest) {
			t.Errorf("%s: %d %s, want %d", line, r.status, r.body, want)
		}
	}
	if got := recorder.Metric(catalogue.HTTPRequestsTotal, nil); got != float64(requests) {
		t.Errorf("%v requests are counted, want %d", got, requests)
	}
	if got := recorder.Metric(catalogue.HTTPRequestsTotal, map[string]string{"route": telemetry.RouteUnmatched, "status_code": "400"}); got != 7 {
		t.Errorf("%v refusals are counted, want 7", got)
	}
}

// A request with both a Content-Length and a Transfer-Encoding ends its
// connection: what follows it is no request.
func TestTwoLengthsEndTheConnection(t *testing.T) {
	handled := 0
	h := open(t, own(httpapi.Config{}, func(w http.ResponseWriter, r *http.Request) { handled++; echoID(w, r) }), httpapi.ServerConfig{})
	c := h.connect(t)
	c.send(t, "POST /things HTTP/1.1\r\nHost: clerk\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+
		"POST /things HTTP/1.1\r\nHost: clerk\r\nContent-Length: 0\r\n\r\n")
	if r := c.answer(t); r.status != http.StatusOK || !r.closed {
		t.Errorf("%d, closed %v", r.status, r.closed)
	}
	c.ended(t)
	if handled != 1 {
		t.Errorf("%d requests are handled, want 1", handled)
	}
}

func TestEncodedBodiesAreRefused(t *testing.T) {
	for coding, refused := range map[string]bool{
		"gzip": true, "GZIP": true, "x-gzip": true, "identity, gzip": true, "br": true, "unheard-of": true,
		"identity": false, "Identity": false, "": false, ",": false,
	} {
		handled := false
		rt := own(httpapi.Config{}, func(w http.ResponseWriter, r *http.Request) { handled = true; echoID(w, r) })
		r := httptest.NewRequest(http.MethodPost, "/things", strings.NewReader("a body"))
		r.Header.Add("Content-Encoding", "identity")
		r.Header.Add("Content-Encoding", coding)
		w := httptest.NewRecorder()
		rt.ServeHTTP(w, r)
		if handled == refused {
			t.Errorf("%q: handled %v", coding, handled)
		}
		if refused {
			problem(t, w, httpapi.EncodedBody)
			if got := w.Header().Get("Accept-Encoding"); got != "identity" {
				t.Errorf("%q: Accept-Encoding %q", coding, got)
			}
		}
	}
}

func TestUnknownParametersAreNamed(t *testing.T) {
	known, _ := tokens(t, "0123456789abcdef")
	for name, cfg := range map[string]httpapi.Config{"open": {OpenAPI: []byte("openapi: 3.1.0\n")}, "guarded": {OpenAPI: []byte("openapi: 3.1.0\n"), Tokens: known}} {
		t.Run(name, func(t *testing.T) {
			rt := own(cfg, nobody(t))
			rt.Handle("GET /filtered", func(w http.ResponseWriter, r *http.Request) { httpapi.WriteJSON(w, 200, r.URL.Query()) }, "size", "colour")
			token := []string{"Authorization", "Bearer 0123456789abcdef"}
			for target, field := range map[string]string{
				"GET /?a=1": "a", "GET /health?verbose": "verbose", "HEAD /health/ready?x=1": "x", "GET /metrics?debug=1": "debug",
				"GET /metrics?name=up": "name", "GET /openapi.yaml?v=2": "v", "GET /things?a[]=1": "a[]", "POST /things?dry-run=1": "dry-run",
				"GET /filtered?colour=red&shape=round": "shape", "GET /filtered?colour=red&colour=blue": "colour", "GET /filtered?Size=1": "Size",
				"GET /filtered?a=1;b=2": "query", "GET /filtered?%zz": "query", "GET /filtered?=1": "query",
				"GET /filtered?%3Cscript%3E=1": "query", "GET /filtered?" + strings.Repeat("x", 65) + "=1": "query",
			} {
				method, target, _ := strings.Cut(target, " ")
				w := ask(rt, method, target, token...)
				document := problem(t, w, httpapi.InvalidRequest)
				detail := fmt.Sprint(document["detail"])
				if document["field"] != field || document["problem"] == nil || field != "query" && !strings.Contains(detail, field) {
					t.Errorf("%s is answered with %v", target, document)
				}
				if strings.HasPrefix(target, "/filtered") && document["problem"] != "is malformed" && !strings.Contains(detail, "colour, size") {
					t.Errorf("%s does not say what is accepted: %v", target, document)
				}
			}
			for _, target := range []string{"/health?", "/filtered?colour=red&size=1", "/filtered?size=", "/metrics?name%5B%5D=a&name[]=b"} {
				if w := ask(rt, http.MethodGet, target, token...); w.Code != http.StatusOK {
					t.Errorf("%s: %d %s", target, w.Code, w.Body)
				}
			}
		})
	}
	w := ask(own(httpapi.Config{Tokens: known}, nobody(t)), http.MethodGet, "/things?a=1")
	problem(t, w, httpapi.Unauthorized)
}
