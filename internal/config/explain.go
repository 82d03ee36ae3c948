package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// Explain writes the scenario as it is in effect: YAML that says of every
// field whether it comes from the file, is a default, or is not set, and what
// it means. Secrets are redacted; apart from those it can be loaded again.
func Explain(w io.Writer, s *Scenario) error {
	x := explainer{set: s.set}
	x.line(0, "# The effective scenario. [file]: given by the file; [default]: not given; [not set]: no value.", "")
	x.fields(reflect.ValueOf(s).Elem(), "", 0)
	for i := range s.TestScenarios {
		x.set = s.TestScenarios[i].set
		x.line(0, "---", "")
		x.fields(reflect.ValueOf(&s.TestScenarios[i]).Elem(), "", 0)
	}
	_, err := w.Write(x.out.Bytes())
	return err
}

type explainer struct {
	out bytes.Buffer
	set map[string]bool
	// dash replaces the indentation of the next line of a list item.
	dash bool
	// again is set inside the second and later items of a list, whose fields
	// need no explanation any more.
	again bool
}

// line writes one line, its comment aligned with those of others.
func (x *explainer) line(depth int, text, comment string) {
	comment = strings.TrimSpace(comment)
	indent := strings.Repeat("  ", depth)
	if x.dash {
		indent = strings.Repeat("  ", depth-1) + "- "
		x.dash = false
	}
	text = indent + text
	if comment != "" {
		text += strings.Repeat(" ", max(2, 44-utf8.RuneCountInString(text))) + "# " + comment
	}
	x.out.WriteString(text + "\n")
}

func (x *explainer) fields(v reflect.Value, path string, depth int) {
	for _, f := range fieldsOf(v.Type()) {
		if f.index >= 0 {
			x.field(v.Field(f.index), f, join(path, f.name), depth)
		}
	}
}

func (x *explainer) field(v reflect.Value, f *field, path string, depth int) {
	origin := "[default] "
	if x.set[path] {
		origin = "[file] "
	}
	doc := f.doc
	if x.again {
		doc = ""
	}
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	derived := v.Kind() == reflect.Bool || f.def != "" || slices.ContainsFunc(f.enum, func(c choice) bool { return c.value == "" })
	isGroup := v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[secret.String]()
	if v.IsZero() && !isGroup && !x.set[path] && !derived {
		x.line(depth, "# "+f.name+":", "[not set] "+doc)
		return
	}
	if text, ok := x.inline(v, f); ok {
		x.line(depth, f.name+": "+text, origin+doc)
		return
	}
	switch {
	case isGroup:
		x.line(depth, f.name+":", doc)
		x.fields(v, path, depth+1)
	case v.Kind() == reflect.Slice && v.Len() > 0:
		x.line(depth, f.name+":", origin+doc)
		outer := x.again
		for i := range v.Len() {
			x.dash, x.again = true, outer || i > 0
			x.fields(v.Index(i), fmt.Sprintf("%s[%d]", path, i), depth+2)
		}
		x.again = outer
	case v.Kind() == reflect.Map && v.Len() > 0:
		x.line(depth, f.name+":", origin+doc)
		for _, name := range slices.Sorted(maps.Keys(stringKeys(v))) {
			item := v.MapIndex(reflect.ValueOf(name))
			if text, ok := x.inline(item, f); ok {
				x.line(depth+1, quote(name)+": "+text, "")
				continue
			}
			x.line(depth+1, quote(name)+":", "")
			x.fields(item, join(path, name), depth+2)
		}
	default:
		x.line(depth, f.name+": "+emptyOf(v), origin+doc)
	}
}

// emptyOf renders a list or mapping that the file gave without content.
func emptyOf(v reflect.Value) string {
	if v.Kind() == reflect.Slice {
		return "[]"
	}
	return "{}"
}

func stringKeys(v reflect.Value) map[string]bool {
	keys := map[string]bool{}
	for _, k := range v.MapKeys() {
		keys[k.String()] = true
	}
	return keys
}

// inline renders what fits behind the name, and an empty list or mapping as
// nothing at all.
func (x *explainer) inline(v reflect.Value, f *field) (text string, ok bool) {
	switch value := v.Interface().(type) {
	case secret.String:
		if value.Empty() {
			return `""`, true
		}
		return strconv.Quote(masked), true
	case time.Duration:
		switch f.unit {
		case "s":
			return strconv.FormatFloat(value.Seconds(), 'f', -1, 64), true
		case "ms":
			return strconv.FormatFloat(float64(value)/1e6, 'f', -1, 64), true
		}
		return formatDuration(value), true
	case MicroUSD:
		return value.String(), true
	case UserCount:
		if value == AllUsers {
			return "all", true
		}
		return strconv.Itoa(int(value)), true
	case Latencies:
		var parts []string
		for _, o := range value {
			parts = append(parts, o.Name()+": "+formatDuration(o.Latency))
		}
		return "{" + strings.Join(parts, ", ") + "}", len(value) > 0
	}
	switch v.Kind() {
	case reflect.String:
		for _, c := range f.enum {
			if c.value == "" && v.String() == "" {
				return c.synonym, true
			}
		}
		return quote(v.String()), true
	case reflect.Bool:
		return strconv.FormatBool(v.Bool()), true
	case reflect.Int, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10), true
	case reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10), true
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64), true
	case reflect.Interface:
		if v.IsNil() {
			return "", false
		}
		if s, isText := v.Interface().(string); isText {
			return strconv.Quote(s), true
		}
		return fmt.Sprint(v.Interface()), true
	case reflect.Slice:
		if v.Len() == 0 {
			return "", false
		}
		var parts []string
		for i := range v.Len() {
			part, fits := x.inline(v.Index(i), f)
			if !fits {
				return "", false
			}
			parts = append(parts, part)
		}
		return "[" + strings.Join(parts, ", ") + "]", true
	}
	return "", false
}

var (
	plainText = regexp.MustCompile(`^[A-Za-z_/][A-Za-z0-9_./-]*$`)
	userInfo  = regexp.MustCompile(`://[^/@\s]*@`)
)

// quote writes a text as YAML reads it back.
func quote(s string) string {
	s = userInfo.ReplaceAllString(s, "://"+masked+"@")
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
	default:
		if plainText.MatchString(s) {
			return s
		}
	}
	s = strings.ReplaceAll(s, "${", "$${")
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return strconv.Quote(s)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
