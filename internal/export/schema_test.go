package export_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

var update = flag.Bool("update", false, "rewrite the generated files")

// generated makes the schema from the types; histograms encode themselves, so
// their form is stated here and held against real documents below.
func generated(t *testing.T) []byte {
	t.Helper()
	r := &jsonschema.Reflector{Anonymous: true}
	for _, dir := range []string{"export", "stats", "verdict", "record", "health"} {
		if err := r.AddGoComments("github.com/otherjamesbrown/ai-aas/tests/load/internal/"+dir, "../"+dir, jsonschema.WithFullComment()); err != nil {
			t.Fatal(err)
		}
	}
	for key, comment := range r.CommentMap {
		r.CommentMap[key] = strings.Join(strings.Fields(comment), " ")
	}
	// the reflector keys comments by path below the folder; ours are full import paths
	for key, comment := range r.CommentMap {
		if _, rest, ok := strings.Cut(key, "/../"); ok {
			r.CommentMap["github.com/otherjamesbrown/ai-aas/tests/load/internal/"+rest] = comment
		}
	}
	integers := func(description string) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{Type: "integer", Minimum: "0"}, Description: description}
	}
	histogram := func() *jsonschema.Schema {
		properties := jsonschema.NewProperties()
		properties.Set("count", &jsonschema.Schema{Type: "integer", Minimum: "0"})
		properties.Set("sumNs", &jsonschema.Schema{Type: "number"})
		properties.Set("minNs", &jsonschema.Schema{Type: "integer"})
		properties.Set("maxNs", &jsonschema.Schema{Type: "integer"})
		properties.Set("index", integers("Bucket numbers: the first, then the distance to each next one. Bucket i below 128 holds the value i ns; any other holds the values from (128 + i mod 128)·2^(i div 128 − 1) ns up to the next bucket."))
		properties.Set("counts", integers("How many values are in each of those buckets."))
		return &jsonschema.Schema{Type: "object", Properties: properties, Required: []string{"count", "sumNs", "minNs", "maxNs"},
			AdditionalProperties: jsonschema.FalseSchema, Description: "A log-linear histogram of durations. Histograms with equal buckets add up exactly."}
	}
	r.Mapper = func(typ reflect.Type) *jsonschema.Schema {
		switch typ {
		case reflect.TypeFor[stats.Histogram]():
			return histogram()
		case reflect.TypeFor[record.TraceID]():
			return &jsonschema.Schema{Type: "string", Pattern: "^[0-9a-f]{32}$", Description: "32 hexadecimal digits, as in the header traceparent"}
		case reflect.TypeFor[time.Duration]():
			return &jsonschema.Schema{Type: "integer", Description: "nanoseconds"}
		}
		return nil
	}
	schema := r.Reflect(&export.Bundle{})
	schema.ID = jsonschema.ID(export.Schema)
	schema.Title = "The result of a loadtest run"
	data, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

func TestSchemaIsCurrent(t *testing.T) {
	want := generated(t)
	if *update {
		if err := os.WriteFile("result.schema.json", want, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(want, export.JSONSchema) {
		t.Error("result.schema.json is not what the types say: go test ./internal/export -update")
	}
}

func validate(t *testing.T, doc []byte) error {
	t.Helper()
	schema, err := validator.UnmarshalJSON(bytes.NewReader(export.JSONSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	if err := c.AddResource("result.json", schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("result.json")
	if err != nil {
		t.Fatal(err)
	}
	value, err := validator.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	return compiled.Validate(value)
}

func TestDocumentsFitTheSchema(t *testing.T) {
	full, err := export.Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	empty, err := export.Encode(&export.Bundle{Schema: export.Schema})
	if err != nil {
		t.Fatal(err)
	}
	for name, doc := range map[string][]byte{"a full run": full, "an empty run": empty} {
		if err := validate(t, doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := validate(t, bytes.Replace(full, []byte(`"sumNs"`), []byte(`"sum"`), 1)); err == nil {
		t.Error("the schema accepts a histogram with an unknown field")
	}
}
