package httpapi_test

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

func TestProblemDocument(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Length", "5") // of the answer that was given up
	httpapi.WriteProblem(w, httpapi.Problem{
		Status: 400, Title: "not mine to choose", Detail: "amount is missing", Field: "amount", Problem: "is missing", Accepted: "a number",
		RetryAfter: time.Second,
	})
	const want = `{"status":400,"title":"Bad Request","detail":"amount is missing","field":"amount","problem":"is missing","accepted":"a number"}` + "\n"
	if got := w.Body.String(); got != want {
		t.Errorf("document\n%swant\n%s", got, want)
	}
	if got := w.Header().Get("Content-Length"); got != "" {
		t.Errorf("Content-Length %q is left over", got)
	}
	problem(t, w, 400)

	w = httptest.NewRecorder()
	httpapi.WriteProblem(w, httpapi.Problem{Status: 404})
	if got, want := w.Body.String(), `{"status":404,"title":"Not Found"}`+"\n"; got != want {
		t.Errorf("shortest document %swant %s", got, want)
	}
}

func TestRetryAfterIsInWholeSecondsRoundedUp(t *testing.T) {
	for wait, want := range map[time.Duration]string{
		0: "", -time.Second: "", 1: "1", time.Millisecond: "1", time.Second: "1", time.Second + 1: "2",
		1500 * time.Millisecond: "2", 2 * time.Second: "2", time.Minute: "60",
	} {
		w := httptest.NewRecorder()
		httpapi.WriteProblem(w, httpapi.Problem{Status: 503, RetryAfter: wait})
		if got := w.Header().Get("Retry-After"); got != want {
			t.Errorf("%v gives Retry-After %q, want %q", wait, got, want)
		}
	}
}

func TestWriteJSON(t *testing.T) {
	w := httptest.NewRecorder()
	httpapi.WriteJSON(w, http.StatusCreated, map[string]int{"n": 1})
	if w.Code != http.StatusCreated || w.Body.String() != "{\"n\":1}\n" {
		t.Errorf("answer %d %q", w.Code, w.Body)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	w = httptest.NewRecorder()
	httpapi.WriteJSON(w, http.StatusOK, math.NaN()) // JSON has no such number
	problem(t, w, http.StatusInternalServerError)
}

func TestReadinessNamesTheFirstReason(t *testing.T) {
	var broken error
	asked := ""
	ready := &httpapi.Readiness{}
	ready.Add("storage", func(context.Context) error { asked += "storage "; return nil })
	ready.Add("kafka", func(ctx context.Context) error {
		asked += "kafka "
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 10*time.Second {
			t.Errorf("a check may take until %v, %v", deadline, ok)
		}
		return broken
	})
	ready.Add("consumer", func(context.Context) error { asked += "consumer "; return errors.New("not joined") })
	rt := router(ready, quiet(), echoID)

	document := problem(t, ask(rt, "GET", "/health/ready"), http.StatusServiceUnavailable)
	if got, want := document["detail"], "Not ready: consumer: not joined."; got != want {
		t.Errorf("detail %q, want %q", got, want)
	}
	broken, asked = errors.New("no broker answers"), ""
	w := ask(rt, "GET", "/health/ready")
	if got, want := problem(t, w, 503)["detail"], "Not ready: kafka: no broker answers."; got != want {
		t.Errorf("detail %q, want %q", got, want)
	}
	if got := w.Header().Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After %q, want 1", got)
	}
	if asked != "storage kafka " {
		t.Errorf("asked %q, want those up to the first reason", asked)
	}
	if w := ask(rt, "GET", "/health"); w.Code != http.StatusOK {
		t.Errorf("alive: %d, want 200 whatever the readiness", w.Code)
	}
	if err := ready.Check(t.Context()); !errors.Is(err, broken) {
		t.Errorf("the reason is %v", err)
	}
}
