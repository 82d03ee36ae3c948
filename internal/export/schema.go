package export

import _ "embed"

// JSONSchema is the published schema of the document (JSON Schema 2020-12).
// It is generated from the types and their comments: go test ./internal/export -update.
//
//go:embed result.schema.json
var JSONSchema []byte
