package httpapi_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

func TestProblemDocument(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Length", "5") // of the answer that was given up
	httpapi.WriteProblem(w, httpapi.Problem{
		Type: httpapi.InvalidRequest, Status: 499, Title: "not mine to choose", Detail: "amount is missing", Field: "amount", Problem: "is missing", Accepted: "a number",
		RetryAfter: time.Second,
	})
	const want = `{"type":"https://github.com/vigie-dev/vigie/blob/main/docs/http.md#problem-invalid-request","title":"The request is not valid","status":400,"detail":"amount is missing","field":"amount","problem":"is missing","accepted":"a number"}` + "\n"
	if got := w.Body.String(); got != want {
		t.Errorf("document\n%swant\n%s", got, want)
	}
	if got := w.Header().Get("Content-Length"); got != "" {
		t.Errorf("Content-Length %q is left over", got)
	}
	problem(t, w, httpapi.InvalidRequest)

	w = httptest.NewRecorder()
	httpapi.WriteProblem(w, httpapi.Problem{})
	if got, want := w.Body.String(), `{"type":"https://github.com/vigie-dev/vigie/blob/main/docs/http.md#problem-fault","title":"The service failed","status":500}`+"\n"; got != want {
		t.Errorf("a problem without a type is %swant %s", got, want)
	}
}

// A client reads a problem's type back, and keeps one that it does not know.
func TestProblemTypesAreReadBack(t *testing.T) {
	for _, facts := range httpapi.Problems() {
		w := httptest.NewRecorder()
		httpapi.WriteProblem(w, httpapi.Problem{Type: facts.Type})
		var got httpapi.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Type != facts.Type || got.Status != facts.Status || got.Title != facts.Title || w.Code != facts.Status {
			t.Errorf("%s reads as %+v, %v", w.Body, got, err)
		}
	}
	var got httpapi.Problem
	if err := json.Unmarshal([]byte(`{"type":"about:blank"}`), &got); err != nil || got.Type != "about:blank" {
		t.Errorf("another's type reads as %q, %v", got.Type, err)
	}
}

// The table stands in docs/http.md, where each type's URI leads to a section of
// its own, and the OpenAPI documents name the same types, with true examples.
func TestEveryProblemIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	table := "| type | status | title | was it done? |\n| --- | --- | --- | --- |\n"
	var types []any
	var sections []string
	for _, f := range httpapi.Problems() {
		table += fmt.Sprintf("| [`%s`](#problem-%s) | %d | %s | %s |\n", f.Type, f.Type, f.Status, f.Title, f.Effect)
		types = append(types, f.Type.URI())
		sections = append(sections, string(f.Type))
	}
	if !strings.Contains(string(text), "\n"+table+"\n") {
		t.Errorf("docs/http.md does not have the table\n%s", table)
	}
	var headings []string
	for _, match := range regexp.MustCompile(`(?m)^### Problem: (\S+)$`).FindAllStringSubmatch(string(text), -1) {
		headings = append(headings, match[1])
	}
	if diff := cmp.Diff(sections, headings); diff != "" {
		t.Errorf("docs/http.md has other sections (-table +document):\n%s", diff)
	}
	_, document := compose(t, ownDocument)
	if diff := cmp.Diff(types, at(document, "components", "schemas", "Problem", "properties", "type", "enum")); diff != "" {
		t.Errorf("common.yaml names other types (-table +document):\n%s", diff)
	}
}

// The examples of problems in the documents are what services would answer.
func TestExamplesOfProblemsFollowTheTable(t *testing.T) {
	own, err := filepath.Glob("../../services/*/openapi.yaml")
	if err != nil || len(own) == 0 {
		t.Fatal(own, err)
	}
	known := map[string]httpapi.ProblemFacts{}
	for _, f := range httpapi.Problems() {
		known[f.Type.URI()] = f
	}
	seen := 0
	for _, path := range append(own, "common.yaml") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`(?m)^ +type: (https:\S+)\n +title: (.+)\n +status: (.+)$`).FindAllStringSubmatch(string(text), -1) {
			seen++
			if f := known[match[1]]; f.Title != match[2] || strconv.Itoa(f.Status) != match[3] {
				t.Errorf("%s: %q, want %+v", path, match[0], f)
			}
		}
		if left := strings.Count(string(text), "schemas/Problem\"}\n") - strings.Count(string(text), "type: https:"); left != 0 {
			t.Errorf("%s: %d problems have no example", path, left)
		}
	}
	if seen < len(own) {
		t.Errorf("%d examples were looked at", seen)
	}
}

func TestRetryAfterIsInWholeSecondsRoundedUp(t *testing.T) {
	for wait, want := range map[time.Duration]string{
		0: "", -time.Second: "", 1: "1", time.Millisecond: "1", time.Second: "1", time.Second + 1: "2",
		1500 * time.Millisecond: "2", 2 * time.Second: "2", time.Minute: "60",
	} {
		w := httptest.NewRecorder()
		httpapi.WriteProblem(w, httpapi.Problem{Type: httpapi.Busy, RetryAfter: wait})
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
	problem(t, w, httpapi.Fault)
}
