// Package contract checks what services answer against their OpenAPI documents,
// so that a document that says other than the service does fails a test.
//
//   - document.go reads a document and checks one answer.
//   - transport.go checks every answer that an HTTP client gets.
package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

// Document is an OpenAPI document to compare with.
type Document struct {
	spec    *openapi3.T
	router  routers.Router
	schemas map[string]*jsonschema.Schema // by reference
}

// Load reads a document and checks it: its structure, its references and its
// examples. Schemas of headers and bodies stand under components. A member that
// an object's schema there does not name is taken for a fault, though clients
// have to expect one: what is answered is to be described.
func Load(content []byte) (*Document, error) {
	loader := openapi3.NewLoader()
	spec, err := loader.LoadFromData(content)
	if err != nil {
		return nil, fmt.Errorf("load the document: %w", err)
	}
	if err := spec.Validate(loader.Context); err != nil {
		return nil, fmt.Errorf("check the document: %w", err)
	}
	spec.Servers = nil // tests have them listen elsewhere
	router, err := legacy.NewRouter(spec)
	if err != nil {
		return nil, fmt.Errorf("route by the document: %w", err)
	}
	schemas, err := compile(content)
	if err != nil {
		return nil, err
	}
	return &Document{spec, router, schemas}, nil
}

// location names the document to the compiler.
const location = "https://vigie.invalid/openapi.json"

// compile makes validators of the schemas under components, by reference:
// schemas of OpenAPI 3.1 are those of JSON Schema 2020-12. Compiled once, they
// cost an answer microseconds, so that a test under load can have each checked.
func compile(content []byte) (map[string]*jsonschema.Schema, error) {
	document, components, err := decode(content)
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	if err := compiler.AddResource(location, document); err != nil {
		return nil, fmt.Errorf("add the document: %w", err)
	}
	all := map[string]*jsonschema.Schema{}
	for kind, suffix := range map[string]string{"schemas": "", "headers": "/schema"} {
		for name := range components[kind] {
			ref := "#/components/" + kind + "/" + name + suffix
			if all[ref], err = compiler.Compile(location + ref); err != nil {
				return nil, fmt.Errorf("compile %s: %w", ref, err)
			}
		}
	}
	return all, nil
}

// decode reads the document the way the compiler wants it, with objects closed.
func decode(content []byte) (document any, components map[string]map[string]any, err error) {
	var loose any
	if err := yaml.Unmarshal(content, &loose); err != nil {
		return nil, nil, fmt.Errorf("read YAML: %w", err)
	}
	encoded, err := json.Marshal(loose)
	if err != nil {
		return nil, nil, fmt.Errorf("encode as JSON: %w", err)
	}
	document, err = jsonschema.UnmarshalJSON(bytes.NewReader(encoded))
	if err != nil {
		return nil, nil, fmt.Errorf("decode JSON: %w", err)
	}
	top, _ := document.(map[string]any)
	under, _ := top["components"].(map[string]any)
	components = map[string]map[string]any{}
	for kind, named := range under {
		components[kind], _ = named.(map[string]any)
	}
	for _, schema := range components["schemas"] {
		if object, ok := schema.(map[string]any); ok && object["properties"] != nil {
			object["additionalProperties"] = false
		}
	}
	return document, components, nil
}

// Operations are the document's, as the services list theirs: "GET /orders".
func (d *Document) Operations() []string {
	var all []string
	for path, item := range d.spec.Paths.Map() {
		for method := range item.Operations() {
			all = append(all, method+" "+path)
		}
	}
	slices.Sort(all)
	return all
}

// Check checks an answer against the document: its status, headers, type and
// body. The request may be one that the document forbids.
func (d *Document) Check(request *http.Request, status int, header http.Header, body []byte) error {
	if request.Method == http.MethodHead {
		return nil // what GET would be answered, but without a body
	}
	described, err := d.response(request, status)
	if err == nil {
		err = errors.Join(d.checkHeaders(described, header), d.checkBody(described, header, body))
	}
	if err != nil {
		return fmt.Errorf("%s %s answers %d otherwise than its document says: %w\nheaders %v, body %.1000s", request.Method, request.URL.Path, status, err, header, body)
	}
	return nil
}

// response is what the document says about an answer of that status. Requests
// that it knows nothing of get a problem, as an operation's fault does.
func (d *Document) response(request *http.Request, status int) (*openapi3.Response, error) {
	route, _, err := d.router.FindRoute(request)
	if err == nil {
		if described := route.Operation.Responses.Status(status); described != nil {
			return described.Value, nil
		}
		return nil, errors.New("the operation has no such status")
	}
	if status != http.StatusNotFound && status != http.StatusMethodNotAllowed {
		return nil, errors.New("the operation is not in it")
	}
	fault := d.spec.Components.Responses["Fault"]
	if fault == nil {
		return nil, errors.New("it has no response Fault")
	}
	return fault.Value, nil
}

func (d *Document) checkHeaders(described *openapi3.Response, header http.Header) error {
	var errs []error
	for name, h := range described.Headers {
		values := header.Values(name)
		if len(values) == 0 && !h.Value.Required {
			continue
		}
		if len(values) != 1 {
			errs = append(errs, fmt.Errorf("header %s is there %d times", name, len(values)))
			continue
		}
		if err := d.fits(h.Ref+"/schema", values[0]); err != nil {
			errs = append(errs, fmt.Errorf("header %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (d *Document) checkBody(described *openapi3.Response, header http.Header, body []byte) error {
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return fmt.Errorf("Content-Type: %w", err)
	}
	media, ok := described.Content[kind]
	if !ok {
		return fmt.Errorf("Content-Type %s is not among those described", kind)
	}
	if media.Schema == nil {
		return nil
	}
	if !strings.HasSuffix(kind, "json") {
		return fmt.Errorf("there is a schema for %s, which cannot be checked", kind)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("body: %w", err)
	}
	return d.fits(media.Schema.Ref, value)
}

func (d *Document) fits(ref string, value any) error {
	schema := d.schemas[ref]
	if schema == nil {
		return fmt.Errorf("schema %q is not under components", ref)
	}
	return schema.Validate(value)
}
