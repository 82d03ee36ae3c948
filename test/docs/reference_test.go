package docs

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

var update = flag.Bool("update", false, "write the generated part of the scenario reference")

const (
	referenceFile = "docs/load-testing/scenario-reference.md"
	generatedFrom = "<!-- Generated from the types of internal/config by `go test ./test/docs -run Reference -update`. Change those, not this. -->"
	generatedTo   = "<!-- The end of what is generated. -->"
	noEffect      = "without-effect-so-far" // the heading that marks link to
)

// The reference is made from the types that decode scenarios, so that it can
// neither miss a field nor say another default.
func TestReferenceIsCurrent(t *testing.T) {
	page := read(t, referenceFile)
	before, rest, ok := strings.Cut(page, generatedFrom)
	_, after, ok2 := strings.Cut(rest, generatedTo)
	if !ok || !ok2 {
		t.Fatalf("%s has lost the marks around its generated part:\n%s\n%s", referenceFile, generatedFrom, generatedTo)
	}
	want := before + generatedFrom + "\n" + reference(t) + generatedTo + after
	if *update {
		if err := os.WriteFile(at(referenceFile), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if page != want {
		t.Errorf("%s is not what internal/config says: run go test ./test/docs -run Reference -update", referenceFile)
	}
}

// What the reference names is held against the JSON Schema, which comes from
// the same tags another way.
func TestReferenceNamesEveryField(t *testing.T) {
	var schema struct {
		Defs map[string]struct {
			Properties map[string]any `json:"properties"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(config.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	text, fields := reference(t), 0
	for def, s := range schema.Defs {
		for name := range s.Properties {
			fields++
			if !regexp.MustCompile("[`.]" + regexp.QuoteMeta(name) + "[`.\\[]").MatchString(text) {
				t.Errorf("the reference does not name %s of %s", name, def)
			}
		}
	}
	if fields < 200 {
		t.Errorf("the schema has only %d fields", fields)
	}
}

// unfinished is a scenario that asks for everything that does nothing yet.
func unfinished(t *testing.T) []config.Unsupported {
	t.Helper()
	s, err := config.Load("testdata/unfinished.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	return s.Unsupported()
}

func reference(t *testing.T) string {
	r := renderer{homes: map[reflect.Type]string{}, marked: map[string]bool{}}
	scenario, test := reflect.TypeFor[config.Scenario](), reflect.TypeFor[config.TestScenario]()
	r.settle(scenario)
	r.settle(test)
	pending := unfinished(t)
	for _, u := range pending {
		r.marked[u.Path] = true
	}
	r.document("LoadTestScenario", scenario)
	clear(r.marked) // none of them is about TestScenarios
	r.document("TestScenario", test)
	if len(pending) > 0 {
		r.line("## Without effect so far")
		r.line("")
		r.line("These fields are checked and accepted, so that a scenario need not be changed later. A run that sets one of them says so in a warning when it starts.")
		r.line("")
		r.line("| field | what happens instead |\n|---|---|")
		for _, u := range pending {
			r.line("| `%s` | %s |", u.Path, sentence(u.Sentence))
		}
		r.line("")
	}
	return r.out.String()
}

// renderer writes the fields of nested types as tables, one for every field of
// a document's spec, with dotted names inside.
type renderer struct {
	out    strings.Builder
	homes  map[reflect.Type]string // where the fields of a type are told
	marked map[string]bool         // paths without effect so far
	rows   []string
}

// settle decides where the fields of each type are told: at the shortest path
// to it, everywhere else there is a word that they are there.
func (r *renderer) settle(document reflect.Type) {
	type place struct {
		reflect.Type
		path string
	}
	for next := []place{{document, ""}}; len(next) > 0; next = next[1:] {
		for f := range fields(next[0].Type) {
			inner, in := structOf(f.Type)
			if _, told := r.homes[inner]; inner == nil || told {
				continue
			}
			path := strings.TrimPrefix(next[0].path+"."+f.name, ".")
			r.homes[inner] = path
			next = append(next, place{inner, path + in})
		}
	}
}

func (r *renderer) line(format string, args ...any) { fmt.Fprintf(&r.out, format+"\n", args...) }

// document writes a kind of document: its own fields, then its spec.
func (r *renderer) document(kind string, t reflect.Type) {
	r.line("## %s", kind)
	r.line("")
	for f := range fields(t) {
		if f.name == "spec" {
			continue
		}
		r.row(f, "", f.name)
	}
	r.flush()
	spec, _ := t.FieldByName("Spec")
	if kind != "LoadTestScenario" { // small enough for one table
		for f := range fields(spec.Type) {
			r.row(f, "spec", f.name)
		}
		r.line("### %s: `spec`", kind)
		r.line("")
		r.flush()
		return
	}
	for f := range fields(spec.Type) {
		path := "spec." + f.name
		r.line("### `%s`", path)
		r.line("")
		r.line("%s%s", f.doc, r.remarks(f, path))
		r.line("")
		if inner, in := structOf(f.Type); inner != nil {
			for g := range fields(inner) {
				r.row(g, path, strings.TrimPrefix(in+".", ".")+g.name)
			}
			r.flush()
		}
	}
}

// remarks are what a table would say of a field that has a heading instead.
func (r *renderer) remarks(f tagged, path string) (s string) {
	if len(f.aliases) > 0 {
		s += " Also spelled " + code(f.aliases...) + "."
	}
	if inner, _ := structOf(f.Type); inner == nil && f.into == "" {
		s += " " + strings.ToUpper(f.kind()[:1]) + f.kind()[1:] + "."
	}
	if r.marked[path] {
		s += " " + fmt.Sprintf("[Without effect so far](#%s).", noEffect)
	}
	return s
}

func (r *renderer) flush() {
	if len(r.rows) > 0 {
		r.line("| field | type | default | meaning |\n|---|---|---|---|")
		r.line("%s", strings.Join(r.rows, "\n"))
		r.line("")
	}
	r.rows = nil
}

// row adds a field to the table, and the fields inside it. name is the path
// below base.
func (r *renderer) row(f tagged, base, name string) {
	path := strings.TrimPrefix(base+"."+name, ".")
	path = strings.ReplaceAll(path, ".[]", "[]")
	names := []string{name}
	for _, a := range f.aliases {
		names = append(names, name[:strings.LastIndex(name, ".")+1]+a)
	}
	doc := f.doc
	if r.marked[path] {
		doc += fmt.Sprintf(" [†](#%s)", noEffect)
	}
	kind := f.kind()
	inner, in := structOf(f.Type)
	home := r.homes[inner]
	if inner != nil && home != path {
		doc += " Its fields are those of `" + home + "`."
	}
	r.rows = append(r.rows, fmt.Sprintf("| %s | %s | %s | %s |", code(names...), kind, f.fallback(), strings.ReplaceAll(doc, "|", `\|`)))
	if inner != nil && home == path {
		for g := range fields(inner) {
			r.row(g, base, name+in+"."+g.name)
		}
	}
}

// tagged is a field of the format, as the tags of its struct field have it.
type tagged struct {
	reflect.StructField
	name, doc, into string
	aliases         []string
}

// fields yields the fields of a struct in their order, other spellings that
// have a meaning of their own included.
func fields(t reflect.Type) func(func(tagged) bool) {
	return func(yield func(tagged) bool) {
		for i := range t.NumField() {
			sf := t.Field(i)
			f := tagged{StructField: sf, name: sf.Tag.Get("yaml"), doc: sf.Tag.Get("doc"), into: sf.Tag.Get("into")}
			if f.name == "" || f.name == "-" {
				continue
			}
			for a := range strings.SplitSeq(sf.Tag.Get("alias"), ",") {
				if a, _, _ = strings.Cut(a, "="); a != "" {
					f.aliases = append(f.aliases, a)
				}
			}
			if f.into != "" {
				f.Type = reflect.TypeFor[string]()
			}
			if !yield(f) {
				return
			}
		}
	}
}

// structOf returns the struct inside a field's type, and how to write that one
// is inside: [] for a list, .NAME for a mapping.
func structOf(t reflect.Type) (inner reflect.Type, in string) {
	if t == reflect.TypeFor[secret.String]() {
		return nil, ""
	}
	switch t.Kind() {
	case reflect.Pointer:
		return structOf(t.Elem())
	case reflect.Slice:
		if t == reflect.TypeFor[config.Latencies]() {
			return nil, ""
		}
		inner, in = structOf(t.Elem())
		return inner, "[]" + in
	case reflect.Map:
		inner, in = structOf(t.Elem())
		return inner, ".NAME" + in
	case reflect.Struct:
		return t, ""
	}
	return nil, ""
}

// kind says what to write there.
func (f tagged) kind() string {
	tag := f.Tag.Get
	if f.into != "" && tag("enum") == "" {
		return "another spelling"
	}
	return kindOf(f.Type, tag)
}

func kindOf(t reflect.Type, tag func(string) string) string {
	if values := tag("enum"); values != "" && t.Kind() == reflect.String {
		var names []string
		for v := range strings.SplitSeq(values, "|") {
			name, synonym, _ := strings.Cut(v, "=")
			if name == "" {
				name = synonym
			}
			names = append(names, name)
		}
		return strings.ReplaceAll(code(names...), ", ", " ")
	}
	switch t {
	case reflect.TypeFor[secret.String]():
		return "[secret](#secrets)"
	case reflect.TypeFor[time.Duration]():
		switch tag("unit") {
		case "s":
			return "seconds, or a [duration](#durations-shares-and-money)"
		case "ms":
			return "milliseconds, or a [duration](#durations-shares-and-money)"
		}
		return "[duration](#durations-shares-and-money)"
	case reflect.TypeFor[config.MicroUSD]():
		return "[dollars](#durations-shares-and-money)" + bounds(tag)
	case reflect.TypeFor[config.UserCount]():
		return "integer or `all`"
	case reflect.TypeFor[config.Latencies]():
		return "percentiles, such as `{p95: 1s}`"
	case reflect.TypeFor[config.Spread]():
		return "number, or mapping"
	case reflect.TypeFor[config.Credential]():
		return "secret, or mapping"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return kindOf(t.Elem(), tag)
	case reflect.Slice:
		s := "list of " + plural(kindOf(t.Elem(), tag))
		if tag("list") == "one" {
			s += ", or one"
		}
		return s
	case reflect.Map:
		return "mapping of names to " + plural(kindOf(t.Elem(), tag))
	case reflect.Struct:
		return "mapping"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "integer" + bounds(tag)
	case reflect.Float64:
		if tag("unit") == "ratio" {
			return "[share](#durations-shares-and-money)"
		}
		return "number" + bounds(tag)
	case reflect.Interface:
		return "text, number, true or false"
	}
	switch tag("kind") {
	case "url":
		return "URL"
	case "path":
		return "path, from the scenario's folder"
	}
	return "text"
}

var plurals = strings.NewReplacer("mapping", "mappings", "text", "texts", "integer", "integers", "number", "numbers", "secret,", "secrets,")

func plural(kind string) string {
	if rest, list := strings.CutPrefix(kind, "list "); list {
		return "lists " + rest
	}
	return plurals.Replace(kind)
}

func bounds(tag func(string) string) string {
	low, high, above := tag("min"), tag("max"), tag("above")
	switch {
	case low != "" && high != "":
		return ", " + low + " to " + high
	case above != "" && high != "":
		return ", above " + above + ", at most " + high
	case low != "":
		return ", at least " + low
	case above != "":
		return ", above " + above
	}
	return ""
}

// fallback says what holds where the file says nothing.
func (f tagged) fallback() string {
	switch {
	case f.Tag.Get("required") == "true":
		return "*required*"
	case f.Tag.Get("default") != "":
		return code(f.Tag.Get("default"))
	}
	return "–"
}

func code(names ...string) string { return "`" + strings.Join(names, "`, `") + "`" }

// sentence begins with a capital and ends with a full stop.
func sentence(s string) string {
	return strings.ToUpper(s[:1]) + s[1:] + "."
}
