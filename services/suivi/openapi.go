package suivi

import _ "embed" // for the document

//go:embed openapi.yaml
var openAPI []byte

// OpenAPI is the description of the service's HTTP interface, OpenAPI 3.1 as
// YAML.
func OpenAPI() []byte { return openAPI }
