// Package base stands for the one of its name: the types by which Prometheus
// describes its API, with the fields that it sets.
package base

import (
	yaml "github.com/pb33f/go-yaml"

	"github.com/pb33f/libopenapi/orderedmap"
)

// Contact is whom to ask.
type Contact struct{ Name, URL string }

// Info is about the API.
type Info struct {
	Title, Description, Version string
	Contact                     *Contact
}

// Tag groups requests.
type Tag struct{ Name, Summary, Description string }

// Example is an example.
type Example struct {
	Summary, Description string
	Value                *yaml.Node
}

// DynamicValue is one of two.
type DynamicValue[A, B any] struct {
	N int
	A A
	B B
}

// SchemaProxy is a schema or a reference to one.
type SchemaProxy struct{}

// CreateSchemaProxy drops the schema.
func CreateSchemaProxy(*Schema) *SchemaProxy { return &SchemaProxy{} }

// CreateSchemaProxyRef drops the reference.
func CreateSchemaProxyRef(string) *SchemaProxy { return &SchemaProxy{} }

// Schema describes a value.
type Schema struct {
	Type, Required             []string
	Title, Format, Description string
	ContentMediaType           string
	ContentSchema              *SchemaProxy
	AnyOf, OneOf               []*SchemaProxy
	Properties                 *orderedmap.Map[string, *SchemaProxy]
	Items                      *DynamicValue[*SchemaProxy, bool]
	AdditionalProperties       *DynamicValue[*SchemaProxy, bool]
	MinItems, MaxItems         *int64
	Minimum                    *float64
	Enum                       []*yaml.Node
	Default, Example           *yaml.Node
}
