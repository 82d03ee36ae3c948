package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// Schema returns the JSON Schema (draft 2020-12) of one document of a scenario
// file, made from the same tags that the decoder goes by. Both dialects are
// valid under it. It knows the shape of the format; rules between fields are
// [Parse]'s affair.
func Schema() []byte {
	g := generator{defs: map[string]any{}}
	scenario := g.of(reflect.TypeFor[Scenario](), &field{})
	test := g.of(reflect.TypeFor[TestScenario](), &field{})
	g.defs["variable"] = object{
		"type": "string", "pattern": `\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}`,
		"description": "A value from the environment: ${NAME} or ${NAME:-default}.",
	}
	out, err := json.MarshalIndent(object{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "A document of a loadtest scenario file",
		"type":    "object",
		"if":      object{"properties": object{"kind": object{"const": KindTestScenario}}, "required": []string{"kind"}},
		"then":    test,
		"else":    scenario,
		"$defs":   g.defs,
	}, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("config: the schema cannot be written: %v", err)) // it is made of maps and texts
	}
	return append(out, '\n')
}

type object = map[string]any

type generator struct{ defs map[string]any }

var variableRef = object{"$ref": "#/$defs/variable"}

func anyOf(schemas ...any) object { return object{"anyOf": schemas} }

const durationPattern = `^(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+$`

// of returns the schema of a type under the tags of a field.
func (g *generator) of(t reflect.Type, f *field) object {
	duration := object{"type": "string", "pattern": durationPattern}
	number := func(kind string) object {
		s := object{"type": kind}
		for key, p := range map[string]*float64{"minimum": f.min, "maximum": f.max, "exclusiveMinimum": f.above} {
			if p != nil {
				s[key] = *p
			}
		}
		return s
	}
	switch reflect.New(t).Interface().(type) {
	case *secret.String:
		return object{"type": []string{"string", "number"}, "writeOnly": true}
	case *time.Duration:
		if f.unit != "" {
			return anyOf(object{"type": "number", "minimum": 0}, duration, variableRef)
		}
		return anyOf(duration, object{"const": 0}, variableRef)
	case *MicroUSD:
		return anyOf(number("number"), variableRef)
	case *UserCount:
		return anyOf(object{"type": "integer", "minimum": 0}, object{"const": "all"}, variableRef)
	case *Latencies:
		return object{"type": []string{"object", "null"}, "additionalProperties": false,
			"patternProperties": object{`^(p[5-9][0-9](\.[0-9]+)?|mean)$`: anyOf(duration, variableRef)}}
	case *Spread:
		return anyOf(object{"type": "number"}, g.structure(t), variableRef)
	case *Credential:
		return anyOf(object{"type": []string{"string", "number"}, "writeOnly": true}, g.structure(t))
	case *TestTypes:
		shares := object{"type": "object", "additionalProperties": object{"type": "number", "minimum": 0}}
		return anyOf(object{"type": "array", "items": g.of(reflect.TypeFor[TestType](), &field{})},
			object{"type": "object", "properties": object{"distribution": shares}, "additionalProperties": false})
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.wrapped(g.of(t.Elem(), f), f)
	case reflect.Struct:
		return g.structure(t)
	case reflect.Slice:
		items := g.of(t.Elem(), f)
		if f.list {
			return anyOf(object{"type": "array", "items": items}, items)
		}
		return object{"type": "array", "items": items}
	case reflect.Map:
		return object{"type": []string{"object", "null"}, "additionalProperties": g.of(t.Elem(), f)}
	case reflect.Bool:
		return anyOf(object{"type": "boolean"}, variableRef)
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return anyOf(number("integer"), variableRef)
	case reflect.Float64:
		if f.unit == "ratio" {
			return anyOf(object{"type": "number", "minimum": 0, "maximum": 1}, object{"type": "string", "pattern": `^[0-9.]+ *%$`}, variableRef)
		}
		return anyOf(number("number"), variableRef)
	case reflect.Interface:
		return object{"type": []string{"string", "number", "boolean"}}
	}
	if len(f.enum) > 0 {
		values := []string{}
		for _, c := range f.enum {
			for _, s := range []string{c.value, c.synonym} {
				if s != "" {
					values = append(values, s)
				}
			}
		}
		if f.required && len(values) == 1 {
			return object{"const": values[0]}
		}
		return anyOf(object{"enum": values}, variableRef)
	}
	return object{"type": []string{"string", "number"}} // 42 is understood as the text it is
}

// wrapped lets a value stand one level deeper too.
func (g *generator) wrapped(s object, f *field) object {
	if f.wrap == "" {
		return s
	}
	return anyOf(s, object{"type": "object", "properties": object{f.wrap: s}, "required": []string{f.wrap}, "additionalProperties": false})
}

// structure returns a reference to the schema of a struct type.
func (g *generator) structure(t reflect.Type) object {
	ref := object{"$ref": "#/$defs/" + t.Name()}
	if _, done := g.defs[t.Name()]; done {
		return ref
	}
	g.defs[t.Name()] = nil // being made
	properties := object{}
	required := []string{}
	for _, f := range fieldsOf(t) {
		var target reflect.Type
		rules := *f
		switch {
		case f.index >= 0:
			target = t.Field(f.index).Type
		case f.into == "-":
			target = reflect.TypeFor[string]()
		default:
			aimed, index := fieldAt(t, f.into)
			target = t.FieldByIndex(index).Type
			rules = *aimed
			rules.def = ""
		}
		for _, name := range f.names() {
			s := g.describe(g.of(target, rules.spelled(name)), f.doc, rules.def)
			if name != f.name || f.index < 0 && f.into != "-" {
				s["description"] = "Another spelling. " + f.doc
			}
			properties[name] = s
		}
		if f.required && len(f.aliases) == 0 {
			required = append(required, f.name)
		}
	}
	s := object{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	g.defs[t.Name()] = s
	return ref
}

// describe adds what people read.
func (g *generator) describe(s object, doc, def string) object {
	out := object{"description": strings.TrimSpace(doc)}
	for k, v := range s {
		out[k] = v
	}
	if def != "" {
		var value any
		if err := yaml.Load([]byte(def), &value); err == nil {
			out["default"] = value
		}
	}
	return out
}
