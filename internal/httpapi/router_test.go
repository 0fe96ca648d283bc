package httpapi_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func TestRoutes(t *testing.T) {
	const jsonType = "application/json"
	tests := []struct {
		method, target    string
		contentType, body string
	}{
		{"GET", "/", jsonType, `{"endpoints":["GET /","GET /favicon.ico","GET /health","GET /health/ready","GET /metrics","GET /things/{id}","POST /things/{id}"],"service":"clerk","version":"1.2.3"}`},
		{"GET", "/health", jsonType, `{"service":"clerk","status":"ok"}`},
		{"GET", "/metrics?name[]=a&name[]=b", "text/plain; charset=utf-8", "the page"},
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
		want           httpapi.ProblemType
		allow          []string
	}{
		{"GET", "/nowhere", httpapi.UnknownResource, nil},
		{"POST", "/nowhere", httpapi.UnknownResource, nil},
		{"GET", "/things", httpapi.UnknownResource, nil},
		{"GET", "/things/", httpapi.UnknownResource, nil},
		{"GET", "/things/1/more", httpapi.UnknownResource, nil},
		{"GET", "/health/", httpapi.UnknownResource, nil},
		{"GET", "//health", httpapi.UnknownResource, nil},
		{"GET", "//nowhere", httpapi.UnknownResource, nil},
		{"GET", "/things/../health", httpapi.UnknownResource, nil},
		{"GET", "/Health", httpapi.UnknownResource, nil},
		{"PURGE", "/nowhere", httpapi.UnknownResource, nil},
		{"POST", "/", httpapi.WrongMethod, []string{"GET", "HEAD"}},
		{"DELETE", "/health", httpapi.WrongMethod, []string{"GET", "HEAD"}},
		{"DELETE", "/things/1", httpapi.WrongMethod, []string{"GET", "HEAD", "POST"}},
		{"OPTIONS", "/metrics", httpapi.WrongMethod, []string{"GET", "HEAD"}},
		{"PURGE", "/health/ready", httpapi.WrongMethod, []string{"GET", "HEAD"}},
	}
	rt := router(&httpapi.Readiness{}, quiet(), echoID)
	for _, test := range tests {
		t.Run(test.method+" "+test.target, func(t *testing.T) {
			w := ask(rt, test.method, test.target)
			document := problem(t, w, test.want)
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
			if test.want == httpapi.WrongMethod && !strings.Contains(detail, allow) || test.want == httpapi.UnknownResource && !strings.Contains(detail, "GET /") {
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
				problem(t, w, httpapi.ForeignPage)
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
	document := problem(t, ask(rt, "GET", "/things/1"), httpapi.Fault)
	if strings.Contains(document["detail"].(string), "secret") {
		t.Errorf("the client got %q", document["detail"])
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

// Every answer protects its readers, whatever its status and wherever it was
// written.
func TestSecurityHeaders(t *testing.T) {
	rt := own(httpapi.Config{OpenAPI: []byte("openapi: 3.1.0\n")}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			panic("a fault")
		}
		_, _ = w.Write([]byte("bare"))
	})
	for _, request := range []string{"GET /", "GET /health", "GET /health/ready", "GET /metrics", "GET /openapi.yaml", "GET /things", "POST /things", "GET /nowhere", "PUT /things", "GET //"} {
		for _, secured := range []bool{false, true} {
			method, target, _ := strings.Cut(request, " ")
			r := httptest.NewRequest(method, target, nil)
			if secured {
				r.TLS = &tls.ConnectionState{}
			}
			w := httptest.NewRecorder()
			rt.ServeHTTP(w, r)
			want := map[string]string{
				"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
				"Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "Strict-Transport-Security": "",
			}
			if secured {
				want["Strict-Transport-Security"] = "max-age=31536000"
			}
			if request == "GET /openapi.yaml" {
				want["Cache-Control"], want["Content-Type"] = "max-age=300", "application/yaml"
			}
			for name, value := range want {
				if got := w.Result().Header.Get(name); got != value {
					t.Errorf("%s, secured %v: %s is %q, want %q", request, secured, name, got, value)
				}
			}
			if got := w.Result().Header.Get("Content-Length"); got != strconv.Itoa(w.Body.Len()) {
				t.Errorf("%s has Content-Length %q, %d bytes", request, got, w.Body.Len())
			}
			if w.Result().Header.Get("Content-Type") == "" {
				t.Errorf("%s has no type", request)
			}
		}
	}
}

// A panic is a 500 that names the trace, a count, and a span that failed; what
// the handler had written by then is not sent.
func TestAPanicIsCountedAndTraced(t *testing.T) {
	const traceID = "14238f770463eba2bf003d4040e387a6"
	recorder := telemetrytest.New(t, "clerk", httpapi.Catalogue())
	panics, err := recorder.Instruments().Int64Counter(httpapi.PanicsTotal)
	if err != nil {
		t.Fatal(err)
	}
	rt := own(httpapi.Config{
		Log:      httpapi.LogRequestIDs(recorder.Logger()),
		Panicked: func(ctx context.Context) { panics.Add(ctx, 1) },
	}, func(w http.ResponseWriter, _ *http.Request) {
		httpapi.WriteJSON(w, http.StatusCreated, "half an answer")
		panic("the fault")
	})
	h := httpapi.Identify(telemetry.HTTPMiddleware(recorder.Telemetry, httpapi.Route)(rt))
	r := httptest.NewRequest(http.MethodPost, "/things", strings.NewReader("{}"))
	r.Header.Set("traceparent", "00-"+traceID+"-7f4bf034cc699c63-01")
	r.Header.Set(httpapi.RequestID, "checkout-1")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	document := problem(t, w, httpapi.Fault)
	if document["traceId"] != traceID || document["requestId"] != "checkout-1" || strings.Contains(w.Body.String(), "half") {
		t.Errorf("the answer is %s", w.Body)
	}
	if got := recorder.Metric(httpapi.PanicsTotal, nil); got != 1 {
		t.Errorf("%v panics are counted", got)
	}
	if got := recorder.Metric(catalogue.HTTPRequestsTotal, map[string]string{"route": "/things", "status_code": "500"}); got != 1 {
		t.Errorf("%v requests are counted with 500", got)
	}
	if span := recorder.Span("POST /things"); span.Status.Code != codes.Error || span.SpanContext.TraceID().String() != traceID {
		t.Errorf("the span is %+v of trace %s", span.Status, span.SpanContext.TraceID())
	}
	lines := recorder.Logs()
	if len(lines) != 1 || lines[0]["request_id"] != "checkout-1" || lines[0]["trace_id"] != traceID || lines[0]["panic"] != "the fault" {
		t.Errorf("the log has %v", lines)
	}
	recorder.CheckCatalogue()
}

func TestReadinessNamesTheFirstReason(t *testing.T) {
	var broken error
	ready := &httpapi.Readiness{}
	ready.Add("storage", func(context.Context) error { return nil })
	ready.Add("kafka", func(ctx context.Context) error {
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 10*time.Second {
			t.Errorf("a check may take until %v, %v", deadline, ok)
		}
		return broken
	})
	ready.Add("consumer", func(context.Context) error { return errors.New("not joined") })
	rt := router(ready, quiet(), echoID)

	document := problem(t, ask(rt, "GET", "/health/ready"), httpapi.NotReady)
	if got, want := document["detail"], "Not ready: consumer: not joined."; got != want {
		t.Errorf("detail %q, want %q", got, want)
	}
	broken = errors.New("no broker answers")
	w := ask(rt, "GET", "/health/ready")
	if got, want := problem(t, w, httpapi.NotReady)["detail"], "Not ready: kafka: no broker answers."; got != want {
		t.Errorf("detail %q, want %q", got, want)
	}
	if got := w.Header().Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After %q, want 1", got)
	}
	parts, _ := ready.Look(t.Context())
	if got := fmt.Sprint(parts); got != "[{storage <nil>} {kafka no broker answers} {consumer not joined}]" {
		t.Errorf("the parts are %s", got)
	}
	if w := ask(rt, "GET", "/health"); w.Code != http.StatusOK {
		t.Errorf("alive: %d, want 200 whatever the readiness", w.Code)
	}
	if err := ready.Check(t.Context()); !errors.Is(err, broken) {
		t.Errorf("the reason is %v", err)
	}
}

func TestRequestIDs(t *testing.T) {
	made := regexp.MustCompile(`^[A-Z2-7]{26}$`)
	for name, tt := range map[string]struct {
		sent  string
		taken bool
	}{
		"none":               {"", false},
		"every character":    {"AZaz09._-", true},
		"the longest":        {strings.Repeat("x", 64), true},
		"too long":           {strings.Repeat("x", 65), false},
		"a blank":            {"a b", false},
		"a forged line":      {"a\nlevel=ERROR", false},
		"beyond ASCII":       {"é", false},
		"what HTML would do": {"<script>", false},
	} {
		t.Run(name, func(t *testing.T) {
			var text strings.Builder
			log := httpapi.LogRequestIDs(slog.New(slog.NewJSONHandler(&text, nil))).With("service", "clerk")
			h := httpapi.Identify(own(httpapi.Config{Log: log}, func(w http.ResponseWriter, r *http.Request) {
				log.InfoContext(r.Context(), "asked")
				httpapi.WriteProblem(w, httpapi.Problem{Type: httpapi.UnknownOrder})
			}))
			w := ask(h, http.MethodGet, "/things", httpapi.RequestID, tt.sent)
			id := w.Header().Get(httpapi.RequestID)
			if tt.taken && id != tt.sent || !tt.taken && !made.MatchString(id) {
				t.Errorf("the id is %q", id)
			}
			if got := problem(t, w, httpapi.UnknownOrder)["requestId"]; got != id {
				t.Errorf("the problem names %v, the header %q", got, id)
			}
			var line map[string]any
			if err := json.Unmarshal([]byte(text.String()), &line); err != nil || line["request_id"] != id || line["service"] != "clerk" {
				t.Errorf("the log says %s (%v)", text.String(), err)
			}
			if again := ask(h, http.MethodGet, "/", httpapi.RequestID, tt.sent).Header().Get(httpapi.RequestID); !tt.taken && again == id {
				t.Errorf("two requests are %q", id)
			}
		})
	}
}

// Lines that belong to no request have no id.
func TestOtherLinesHaveNoRequestID(t *testing.T) {
	var text strings.Builder
	httpapi.LogRequestIDs(slog.New(slog.NewTextHandler(&text, nil))).WithGroup("g").InfoContext(t.Context(), "started", "a", 1)
	if strings.Contains(text.String(), "request_id") || !strings.Contains(text.String(), "g.a=1") {
		t.Errorf("the log says %s", text.String())
	}
}
