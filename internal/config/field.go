package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// A field is what the tags of a struct field say. The tags are
//
//	yaml     the name
//	alias    other names, comma-separated; name=unit gives that spelling a unit of its own
//	default  the value where the file says nothing, as YAML
//	required "true": there is no default
//	enum     the values, separated by |; value=synonym accepts another spelling
//	min,max  the range of a number, both ends included
//	above    a bound that is not itself included
//	unit     s: a duration that may be a number of seconds; ms: a number of milliseconds;
//	         ratio: 0 to 1, or a percentage
//	list     "one": a single value stands for a list of one
//	kind     path: a file, relative to the scenario's own; url: an http(s) URL; bare: a text without spaces
//	wrap     the value may also stand one level deeper, under this name
//	suffix   with into: what is appended to the text
//	into     on a blank field: the name is another spelling of the field at that path
//	doc      what it means
type field struct {
	name     string
	aliases  []alias
	index    int // in the struct; −1 for a blank field
	def      string
	required bool
	enum     []choice
	min, max *float64
	above    *float64
	unit     string
	list     bool
	kind     string
	wrap     string
	suffix   string
	into     string
	doc      string
}

type alias struct{ name, unit string }

// choice is one value of an enumeration, and how else it may be written.
type choice struct{ value, synonym string }

// names returns every spelling of the field.
func (f *field) names() []string {
	names := []string{f.name}
	for _, a := range f.aliases {
		names = append(names, a.name)
	}
	return names
}

// spelled returns the field as it is under one of its names, which may have another unit.
func (f *field) spelled(name string) *field {
	for _, a := range f.aliases {
		if a.name == name && a.unit != "" {
			other := *f
			other.unit = a.unit
			return &other
		}
	}
	return f
}

// choices returns the values of the enumeration as they are written in a file.
func (f *field) choices() []string {
	var out []string
	for _, c := range f.enum {
		if c.value == "" {
			out = append(out, c.synonym)
		} else {
			out = append(out, c.value)
		}
	}
	return out
}

var fieldCache sync.Map // reflect.Type → []*field

// fieldsOf returns the fields of a struct type. Broken tags are a mistake in
// this package, found by the first test that touches the type.
func fieldsOf(t reflect.Type) []*field {
	if known, ok := fieldCache.Load(t); ok {
		return known.([]*field)
	}
	var fields []*field
	for i := range t.NumField() {
		sf := t.Field(i)
		name := sf.Tag.Get("yaml")
		if name == "" || name == "-" {
			continue
		}
		f := &field{
			name: name, index: i,
			def:      sf.Tag.Get("default"),
			required: sf.Tag.Get("required") == "true",
			min:      bound(sf, "min"), max: bound(sf, "max"), above: bound(sf, "above"),
			unit: sf.Tag.Get("unit"),
			list: sf.Tag.Get("list") == "one",
			kind: sf.Tag.Get("kind"),
			wrap: sf.Tag.Get("wrap"), suffix: sf.Tag.Get("suffix"), into: sf.Tag.Get("into"),
			doc: sf.Tag.Get("doc"),
		}
		if sf.Name == "_" {
			f.index = -1
		}
		for _, a := range split(sf.Tag.Get("alias"), ",") {
			other, unit, _ := strings.Cut(a, "=")
			f.aliases = append(f.aliases, alias{other, unit})
		}
		for _, e := range split(sf.Tag.Get("enum"), "|") {
			value, synonym, _ := strings.Cut(e, "=")
			f.enum = append(f.enum, choice{value, synonym})
		}
		fields = append(fields, f)
	}
	known, _ := fieldCache.LoadOrStore(t, fields)
	return known.([]*field)
}

func split(s, sep string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, sep)
}

func bound(sf reflect.StructField, key string) *float64 {
	s, ok := sf.Tag.Lookup(key)
	if !ok {
		return nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		panic(fmt.Sprintf("config: the tag %s of %s is not a number: %v", key, sf.Name, err))
	}
	return &v
}

// fieldAt finds the field that path (such as "users.apiKeys") names below a
// struct type, and its index in the manner of reflect.Value.FieldByIndex.
func fieldAt(t reflect.Type, path string) (found *field, index []int) {
	for _, name := range strings.Split(path, ".") {
		for _, f := range fieldsOf(t) {
			if f.name == name && f.index >= 0 {
				found, index, t = f, append(index, f.index), t.Field(f.index).Type
				break
			}
		}
	}
	return found, index
}
