// Package v3 stands for the one of its name: the types by which Prometheus
// describes its API, with the fields that it sets.
package v3

import (
	"github.com/pb33f/libopenapi/datamodel/high/base"
	"github.com/pb33f/libopenapi/orderedmap"
)

// Document is the description.
type Document struct {
	Version    string
	Info       *base.Info
	Servers    []*Server
	Tags       []*base.Tag
	Paths      *Paths
	Components *Components
}

// Render says where the description is to be found.
func (*Document) Render() ([]byte, error) {
	return []byte("# Left out here; see https://prometheus.io/docs/prometheus/latest/querying/api/\n"), nil
}

// Server is where the API is.
type Server struct{ URL string }

// Components are schemas with names.
type Components struct {
	Schemas *orderedmap.Map[string, *base.SchemaProxy]
}

// Paths are all paths.
type Paths struct {
	PathItems *orderedmap.Map[string, *PathItem]
}

// PathItem is one path.
type PathItem struct{ Get, Post, Put, Delete, Options *Operation }

// Operation is a method of a path.
type Operation struct {
	OperationId, Summary, Description string //nolint:revive // the original's spelling
	Tags                              []string
	Parameters                        []*Parameter
	RequestBody                       *RequestBody
	Responses                         *Responses
}

// Parameter is one of a request's.
type Parameter struct {
	Name, In, Description string
	Required, Explode     *bool
	Schema                *base.SchemaProxy
	Examples              *orderedmap.Map[string, *base.Example]
}

// MediaType is what a body is.
type MediaType struct {
	Schema, ItemSchema *base.SchemaProxy
	Examples           *orderedmap.Map[string, *base.Example]
}

// RequestBody is a request's.
type RequestBody struct {
	Required    *bool
	Description string
	Content     *orderedmap.Map[string, *MediaType]
}

// Response is an answer.
type Response struct {
	Description string
	Content     *orderedmap.Map[string, *MediaType]
}

// Responses are an operation's.
type Responses struct {
	Codes *orderedmap.Map[string, *Response]
}
