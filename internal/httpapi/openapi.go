package httpapi

import (
	"bytes"
	_ "embed" // for the common document
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

//go:embed common.yaml
var commonDocument string

// ErrDocument: an OpenAPI document cannot be put together.
var ErrDocument = errors.New("OpenAPI document")

// OpenAPI puts a service's OpenAPI document together: its own part, and what
// the documents of all services have in common. Both are YAML. The result needs
// nothing beside it. A service without a part of its own has no document.
func OpenAPI(service string, own []byte) ([]byte, error) {
	if len(own) == 0 {
		return nil, nil
	}
	common := strings.NewReplacer("service-name", service, "SERVICE-NAME", strings.ToUpper(service)).Replace(commonDocument)
	document, err := parseMapping(own)
	if err != nil {
		return nil, fmt.Errorf("%w of %s: %w", ErrDocument, service, err)
	}
	shared, err := parseMapping([]byte(common))
	if err != nil {
		return nil, fmt.Errorf("%w shared by all: %w", ErrDocument, err)
	}
	headers := take(shared, "x-every-response")
	merge(document, shared)
	addHeaders(document, headers)
	prune(document)
	document.HeadComment = ""
	document.Content[0].HeadComment = "# The HTTP interface of " + service + "."
	var text bytes.Buffer
	dumper, err := yaml.NewDumper(&text, yaml.WithIndent(2), yaml.WithCompactSeqIndent(false), yaml.WithLineWidth(-1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	if err := errors.Join(dumper.Dump(document), dumper.Close()); err != nil {
		return nil, fmt.Errorf("%w of %s: %w", ErrDocument, service, err)
	}
	return text.Bytes(), nil
}

// parseMapping keeps order, style and comments, so that the document stays one
// that people read.
func parseMapping(text []byte) (*yaml.Node, error) {
	var document yaml.Node
	if err := yaml.Load(text, &document); err != nil {
		return nil, err
	}
	root := &document
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		root = root.Content[0]
	}
	if root.Kind != yaml.MappingNode {
		return nil, errors.New("not a mapping")
	}
	return root, nil
}

// index returns where a mapping has a key, -1 where it does not. The value
// follows.
func index(mapping *yaml.Node, key string) int {
	for i := 0; mapping.Kind == yaml.MappingNode && i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return i
		}
	}
	return -1
}

// find returns the value of a mapping's key, nil where there is none.
func find(mapping *yaml.Node, key string) *yaml.Node {
	if i := index(mapping, key); i >= 0 {
		return mapping.Content[i+1]
	}
	return nil
}

// take removes a mapping's key and returns its value, nil where there is none.
func take(mapping *yaml.Node, key string) *yaml.Node {
	i := index(mapping, key)
	if i < 0 {
		return nil
	}
	value := mapping.Content[i+1]
	mapping.Content = slices.Delete(mapping.Content, i, i+2)
	return value
}

// merge adds what another mapping has: members of members, items after the
// mapping's own, and text as a further paragraph.
func merge(into, from *yaml.Node) {
	for i := 0; i+1 < len(from.Content); i += 2 {
		key, value := from.Content[i], from.Content[i+1]
		own := find(into, key.Value)
		switch {
		case own == nil:
			into.Content = append(into.Content, key, value)
		case own.Kind == yaml.MappingNode && value.Kind == yaml.MappingNode:
			merge(own, value)
		case own.Kind == yaml.SequenceNode && value.Kind == yaml.SequenceNode:
			own.Content = append(own.Content, value.Content...)
		case own.Kind == yaml.ScalarNode && value.Kind == yaml.ScalarNode:
			own.Value += "\n" + value.Value
		}
	}
}

// addHeaders puts headers in front of those of every response, whether it
// stands under an operation or under components.
func addHeaders(node, headers *yaml.Node) {
	for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
		if key, value := node.Content[i].Value, node.Content[i+1]; key == "responses" {
			for j := 1; j < len(value.Content); j += 2 {
				addHeadersTo(value.Content[j], headers)
			}
		} else {
			addHeaders(value, headers)
		}
	}
}

func addHeadersTo(response, headers *yaml.Node) {
	if find(response, "$ref") != nil || find(response, "description") == nil { // elsewhere, or not a response
		return
	}
	own := take(response, "headers")
	all := &yaml.Node{Kind: yaml.MappingNode, Tag: headers.Tag, Content: slices.Clone(headers.Content)}
	if own != nil {
		all.Content = append(all.Content, own.Content...)
	}
	at := index(response, "description") + 2 // every response has one
	response.Content = slices.Insert(response.Content, at, &yaml.Node{Kind: yaml.ScalarNode, Value: "headers"}, all)
}

// prune removes components that nothing refers to, until each is referred to:
// a service without routes of its own asks for no token.
func prune(document *yaml.Node) {
	components := find(document, "components")
	if components == nil {
		return
	}
	for removed := true; removed; {
		removed = false
		used := map[string]bool{}
		collectReferences(document, used)
		for i := 0; i+1 < len(components.Content); i += 2 {
			kind, named := components.Content[i].Value, components.Content[i+1]
			for j := 0; j < len(named.Content); {
				if used["#/components/"+kind+"/"+named.Content[j].Value] {
					j += 2
					continue
				}
				named.Content, removed = slices.Delete(named.Content, j, j+2), true
			}
		}
	}
	components.Content = withoutEmpty(components.Content)
}

func withoutEmpty(members []*yaml.Node) (rest []*yaml.Node) {
	for i := 0; i+1 < len(members); i += 2 {
		if len(members[i+1].Content) > 0 {
			rest = append(rest, members[i], members[i+1])
		}
	}
	return rest
}

// collectReferences notes what a document refers to: by $ref, and security
// schemes by their names.
func collectReferences(node *yaml.Node, used map[string]bool) {
	if node.Kind == yaml.MappingNode {
		if ref := find(node, "$ref"); ref != nil {
			used[ref.Value] = true
		}
		if security := find(node, "security"); security != nil {
			for _, requirement := range security.Content {
				for i := 0; i < len(requirement.Content); i += 2 {
					used["#/components/securitySchemes/"+requirement.Content[i].Value] = true
				}
			}
		}
	}
	for _, child := range node.Content {
		collectReferences(child, used)
	}
}
