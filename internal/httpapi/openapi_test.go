package httpapi_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

const ownDocument = `# What clerk has of its own.
openapi: 3.1.0
info:
  title: clerk
  description: |
    A clerk.
tags:
  - name: things
paths:
  /things:
    get:
      security: [{}, {token: []}]
      responses:
        "200":
          description: Things.
          headers: {X-Count: {$ref: "#/components/headers/Count"}}
        "401": {$ref: "#/components/responses/Unauthorized"}
components:
  headers:
    Count: {schema: {type: string}}
`

// compose puts a document together and reads it.
func compose(t *testing.T, own string) (text string, document map[string]any) {
	t.Helper()
	whole, err := httpapi.OpenAPI("clerk", []byte(own))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Load(whole, &document); err != nil {
		t.Fatal(err)
	}
	return string(whole), document
}

// at returns what stands under a path of keys.
func at(document any, path ...string) any {
	for _, key := range path {
		members, _ := document.(map[string]any)
		document = members[key]
	}
	return document
}

func TestADocumentIsTheServicesPartAndTheCommonOne(t *testing.T) {
	text, document := compose(t, ownDocument)
	for _, path := range []string{"/things", "/", "/favicon.ico", "/health", "/health/ready", "/metrics", "/openapi.yaml"} {
		if at(document, "paths", path, "get") == nil {
			t.Errorf("it has no GET %s", path)
		}
	}
	description, _ := at(document, "info", "description").(string)
	if !strings.HasPrefix(description, "A clerk.\n\nEvery path") {
		t.Errorf("the description is %q", description)
	}
	if !strings.HasPrefix(text, "# The HTTP interface of clerk.\n") || strings.Contains(text, "service-name") || strings.Contains(text, "SERVICE-NAME") ||
		strings.Contains(text, "x-every-response") || !strings.Contains(text, "CLERK_TOKENS_FILE") || !strings.Contains(text, "service: {const: clerk}") {
		t.Errorf("the names are not filled in:\n%s", text)
	}
	for name, response := range map[string]any{
		"its own": at(document, "paths", "/things", "get", "responses", "200"), "a common one": at(document, "paths", "/health", "get", "responses", "200"),
		"a component": at(document, "components", "responses", "Unauthorized"),
	} {
		for _, header := range []string{"X-Request-Id", "X-Content-Type-Options", "Content-Security-Policy", "Referrer-Policy", "Cache-Control", "Strict-Transport-Security", "traceresponse"} {
			if at(response, "headers", header, "$ref") == nil {
				t.Errorf("%s has no header %s", name, header)
			}
		}
	}
	if at(document, "paths", "/things", "get", "responses", "200", "headers", "X-Count") == nil {
		t.Error("its own header is gone")
	}
}

// A service that asks for no token does not describe any.
func TestADocumentHasWhatItRefersTo(t *testing.T) {
	_, guarded := compose(t, ownDocument)
	if at(guarded, "components", "securitySchemes", "token") == nil || at(guarded, "components", "headers", "Challenge") == nil {
		t.Errorf("a guarded service has %v", guarded["components"])
	}
	text, _ := compose(t, "openapi: 3.1.0\ninfo: {title: clerk}\n")
	for _, gone := range []string{"securitySchemes", "Unauthorized:", "Challenge:", "SlowBody:"} {
		if strings.Contains(text, gone) {
			t.Errorf("a service without routes of its own has %s", gone)
		}
	}
}

func TestDocumentsThatCannotBePutTogether(t *testing.T) {
	if text, err := httpapi.OpenAPI("clerk", nil); text != nil || err != nil {
		t.Errorf("nothing of its own gives %q, %v", text, err)
	}
	for _, own := range []string{"openapi: [", "- a list"} {
		if _, err := httpapi.OpenAPI("clerk", []byte(own)); !errors.Is(err, httpapi.ErrDocument) {
			t.Errorf("%q gives %v", own, err)
		}
		var log strings.Builder
		router := httpapi.NewRouter(httpapi.Config{Service: "clerk", Metrics: http.NotFoundHandler(), Log: slog.New(slog.NewTextHandler(&log, nil)), OpenAPI: []byte(own)})
		w := httptest.NewRecorder()
		router.ServeHTTP(w, httptest.NewRequest("GET", "/openapi.yaml", nil))
		if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), string(httpapi.Fault)) || !strings.Contains(log.String(), "ERROR") {
			t.Errorf("%q is served as %d: %s; the log has %s", own, w.Code, w.Body, &log)
		}
	}
}
