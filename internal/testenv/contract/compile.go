package contract

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

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
