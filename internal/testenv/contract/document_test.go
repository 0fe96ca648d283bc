package contract_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	testcontract "github.com/vigie-dev/vigie/internal/testenv/contract"
)

const document = `
openapi: 3.1.0
info: {title: clerk, version: "1"}
servers: [{url: "http://127.0.0.1:1"}]
paths:
  /things/{id}:
    get:
      parameters: [{name: id, in: path, required: true, schema: {type: string}}]
      responses:
        "200":
          description: a thing
          headers: {X-Id: {$ref: "#/components/headers/Id"}, X-Age: {$ref: "#/components/headers/Age"}}
          content: {application/json: {schema: {$ref: "#/components/schemas/Thing"}}, text/plain: {}}
        "500": {$ref: "#/components/responses/Fault"}
components:
  headers:
    Id: {required: true, schema: {type: string, pattern: "^[a-z]+$"}}
    Age: {schema: {type: string, pattern: "^[0-9]+$"}}
  responses:
    Fault:
      description: a fault
      content: {application/problem+json: {schema: {$ref: "#/components/schemas/Problem"}}}
  schemas:
    Problem: {type: object, required: [status], properties: {status: {type: integer}}}
    Thing:
      type: object
      required: [name, made]
      properties:
        name: {const: clip}
        made: {type: string, format: date-time}
        price: {type: [number, "null"], exclusiveMinimum: 0}
      example: {name: clip, made: "2026-11-23T11:07:26Z"}
`

func load(t testing.TB, text string) *testcontract.Document {
	t.Helper()
	d, err := testcontract.Load([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func TestCheck(t *testing.T) {
	const thing = `{"name":"clip","made":"2026-11-23T11:07:26.5Z","price":1.5}`
	isJSON := []string{"Content-Type", "application/json", "X-Id", "a"}
	isProblem := []string{"Content-Type", "application/problem+json"}
	d := load(t, document)
	for name, tt := range map[string]struct {
		request string
		status  int
		header  []string
		body    string
		want    string // "" fits
	}{
		"fits":                  {"GET /things/1", 200, isJSON, thing, ""},
		"a parameter of a type": {"GET /things/1", 200, []string{"Content-Type", "application/json; charset=utf-8", "X-Id", "a"}, thing, ""},
		"null":                  {"GET /things/1", 200, isJSON, `{"name":"clip","made":"2026-11-23T11:07:26Z","price":null}`, ""},
		"a type without schema": {"GET /things/1", 200, []string{"Content-Type", "text/plain", "X-Id", "a"}, "anything", ""},
		"an optional header":    {"GET /things/1", 200, append(isJSON[:4:4], "X-Age", "7"), thing, ""},
		"HEAD":                  {"HEAD /things/1", 200, nil, "", ""},
		"a fault":               {"GET /things/1", 500, isProblem, `{"status":500}`, ""},
		"no such resource":      {"GET /nothing", 404, isProblem, `{"status":404}`, ""},
		"no such method":        {"PUT /things/1", 405, isProblem, `{"status":405}`, ""},

		"another status":        {"GET /things/1", 201, isJSON, thing, "no such status"},
		"another operation":     {"GET /nothing", 200, isJSON, thing, "not in it"},
		"not found, as text":    {"GET /nothing", 404, []string{"Content-Type", "text/plain"}, "404", "text/plain"},
		"no type":               {"GET /things/1", 200, []string{"X-Id", "a"}, thing, "Content-Type"},
		"another type":          {"GET /things/1", 200, []string{"Content-Type", "application/xml", "X-Id", "a"}, thing, "application/xml"},
		"no header":             {"GET /things/1", 200, []string{"Content-Type", "application/json"}, thing, "X-Id"},
		"a header twice":        {"GET /things/1", 200, append(isJSON[:4:4], "X-Id", "b"), thing, "X-Id"},
		"a wrong header":        {"GET /things/1", 200, append(isJSON[:4:4], "X-Age", "old"), thing, "X-Age"},
		"no JSON":               {"GET /things/1", 200, isJSON, "clip", "body"},
		"a member too few":      {"GET /things/1", 200, isJSON, `{"name":"clip"}`, "made"},
		"a member too many":     {"GET /things/1", 200, isJSON, `{"name":"clip","made":"2026-11-23T11:07:26Z","colour":"red"}`, "colour"},
		"another constant":      {"GET /things/1", 200, isJSON, `{"name":"pin","made":"2026-11-23T11:07:26Z"}`, "clip"},
		"another format":        {"GET /things/1", 200, isJSON, `{"name":"clip","made":"yesterday"}`, "date-time"},
		"a number out of bound": {"GET /things/1", 200, isJSON, `{"name":"clip","made":"2026-11-23T11:07:26Z","price":0}`, "price"},
	} {
		t.Run(name, func(t *testing.T) {
			method, path, _ := strings.Cut(tt.request, " ")
			err := d.Check(httptest.NewRequest(method, "http://127.0.0.1:4711"+path, nil), tt.status, header(tt.header...), []byte(tt.body))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	if got := d.Operations(); !slices.Equal(got, []string{"GET /things/{id}"}) {
		t.Errorf("operations %v", got)
	}
}

func TestDocumentsThatCannotBeUsed(t *testing.T) {
	for name, change := range map[string][2]string{
		"no YAML":               {"openapi: 3.1.0", "openapi: ["},
		"a missing reference":   {"/schemas/Thing\"", "/schemas/Nothing\""},
		"no description":        {"          description: a thing\n", ""},
		"an example of another": {"example: {name: clip", "example: {name: pin"},
		"a parameter unsaid":    {"      parameters: [{name: id, in: path, required: true, schema: {type: string}}]\n", ""},
		"no pattern":            {"^[a-z]+$", "(("},
	} {
		if !strings.Contains(document, change[0]) {
			t.Fatalf("%s: the document has no %q", name, change[0])
		}
		if _, err := testcontract.Load([]byte(strings.Replace(document, change[0], change[1], 1))); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}

// Answers of services that nothing is expected of pass; others have to fit.
func TestTransport(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer server.Close()
	transport := &testcontract.Transport{Base: http.DefaultTransport}
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	ask := func() error {
		answer, err := client.Get(server.URL + "/things/1")
		if err != nil {
			return err
		}
		defer func() { _ = answer.Body.Close() }()
		if body, err := io.ReadAll(answer.Body); err != nil || string(body) != "hello" {
			t.Errorf("reads %q, %v", body, err)
		}
		return nil
	}
	if err := ask(); err != nil {
		t.Errorf("a service that is not known: %v", err)
	}
	if err := transport.Expect(server.URL, load(t, document)); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err == nil {
		t.Error("an answer that does not fit passes")
	}
	if err := transport.Expect(server.URL, load(t, strings.ReplaceAll(document, "{required: true, ", "{"))); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err != nil || transport.Checked("GET", "/things/1", 200) != 1 {
		t.Errorf("an answer that fits: %v", err)
	}
}

func BenchmarkCheck(b *testing.B) {
	d := load(b, document)
	request := httptest.NewRequest(http.MethodGet, "/things/1", nil)
	h, body := header("Content-Type", "application/json", "X-Id", "a"), []byte(`{"name":"clip","made":"2026-11-23T11:07:26Z"}`)
	for b.Loop() {
		if err := d.Check(request, http.StatusOK, h, body); err != nil {
			b.Fatal(err)
		}
	}
}
